"""The form for a job: its choices, the values that were sent, and the request that they make."""
