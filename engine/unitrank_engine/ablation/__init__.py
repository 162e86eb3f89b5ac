"""Ablation: rankings put to the test by replacing units, against random orders and with a verdict."""
