"""The worker: a parent process that uses the store, and a child process that runs the engine."""
