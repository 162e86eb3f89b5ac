"""The comparison of jobs: what differs in their requests, and whether their rankings agree."""
