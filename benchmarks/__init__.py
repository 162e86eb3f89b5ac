"""Commands that measure; each prints a table and needs nothing but the installation."""
