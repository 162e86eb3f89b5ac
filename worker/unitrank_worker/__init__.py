"""The engine and the processes that run it."""
