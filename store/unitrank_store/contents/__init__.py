"""Models and datasets: names, digests, imports, and the jobs that wait for them."""
