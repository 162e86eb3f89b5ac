"""Other projects use the service, each in an environment of its own."""
