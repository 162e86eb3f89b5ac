"""The processes that `unitrank up` and `unitrank demo` start on this machine."""
