"""Deliveries of webhooks: the schedule and the outcome of each attempt."""
