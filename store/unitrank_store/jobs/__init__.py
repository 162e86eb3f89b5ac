"""Records of jobs and inspections: states, indexes, events, reservations and idempotency keys."""
