"""Results of jobs, and the cache of partial results that later jobs reuse."""
