"""How a request is sent: once, again after a failure, and until a deadline."""
