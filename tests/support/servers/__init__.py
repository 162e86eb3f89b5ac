"""Servers on loopback that a test starts: of remote content, and of webhooks."""
