"""Jobs: checking a request, submitting it, deduplication, and the job as a resource."""
