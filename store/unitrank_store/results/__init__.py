"""Results of jobs, and the cache of partial results."""
