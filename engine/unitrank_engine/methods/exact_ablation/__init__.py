"""Exact ablation: what the target loses when one unit alone is replaced."""

from unitrank_engine.methods.exact_ablation.method import FAMILY, ExactAblationMethod

__all__ = ["FAMILY", "ExactAblationMethod"]
