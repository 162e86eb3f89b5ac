"""Shapley values: the mean effect of a unit over all orders in which units are replaced.

v(S) is F(h with the units outside S replaced). The scores of an example sum to
F(h) − F(h with all units replaced), at any place.
"""

from unitrank_engine.methods.shapley.method import FAMILY, ShapleyMethod

__all__ = ["FAMILY", "ShapleyMethod"]
