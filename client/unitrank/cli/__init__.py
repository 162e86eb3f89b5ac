"""The command line, `unitrank`."""
