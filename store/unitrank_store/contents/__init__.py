"""Models and datasets: their names, digests and imports, and the jobs that wait for them."""
