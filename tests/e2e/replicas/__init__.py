"""Several services on one store: requests go to another service each time."""
