"""The processes of a worker: a parent that takes jobs from the queue, a child that runs them."""
