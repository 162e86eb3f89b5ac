"""Exact ablation: what the target loses when one unit alone is replaced."""

from unitrank_engine.methods.exact_ablation.method import ExactAblationMethod

__all__ = ["ExactAblationMethod"]
