"""API keys and the sessions of browsers."""
