"""Masks replace units of a hidden state: which units, in which orders, and how the passes run."""
