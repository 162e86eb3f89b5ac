"""The export of a module in memory."""
