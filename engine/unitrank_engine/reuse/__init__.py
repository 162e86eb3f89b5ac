"""Scores and ablations of earlier jobs, found by the fingerprint of all that they depend on."""
