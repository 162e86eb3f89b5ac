"""Deliveries of webhooks that are still to be made."""
