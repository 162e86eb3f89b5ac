"""What several benchmarks use: a running Unitrank, uploads, goals, and the plain worker to compare with."""
