"""Exact effects of a ranking's highest units on the test examples, alone and in pairs."""
