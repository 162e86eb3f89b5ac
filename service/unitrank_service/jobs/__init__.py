"""Jobs: the check of a request, its submission, deduplication, and the job as a resource."""
