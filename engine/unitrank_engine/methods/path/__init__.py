"""Sums along a path from the baseline to the input: the points, the walks, and the methods that add them up."""
