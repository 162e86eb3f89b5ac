"""The child processes of a worker, as their parent sees them."""
