"""Servers on loopback that a test starts: sources of remote content, and receivers of webhooks."""
