"""Webhooks: which URLs are allowed, and the dispatcher that posts to them."""
