"""Parts that several benchmarks use: a running service, uploads, goals and RQ's plain worker."""
