"""API keys, and the sessions of people who sign in with one."""
