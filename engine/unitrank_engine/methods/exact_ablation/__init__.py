"""Exact ablation measures the drop of the target when a single unit is replaced."""

from unitrank_engine.methods.exact_ablation.method import FAMILY, ExactAblationMethod

__all__ = ["FAMILY", "ExactAblationMethod"]
