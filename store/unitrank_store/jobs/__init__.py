"""Job records: states, indexes, events, reservations."""
