"""Webhooks: the policy for their URLs, and the dispatcher that posts to them."""
