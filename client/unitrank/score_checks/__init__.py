"""Checks scores of the caller's own code: which scores they are, and whether they are good."""
