"""The RQ queues, and the fair order in which owners take turns."""
