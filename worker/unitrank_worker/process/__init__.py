"""The processes of a worker: a parent that speaks to the queue and one long-lived child that computes."""
