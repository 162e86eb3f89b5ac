"""DeepLIFT carries the change of the target against the baseline back through the graph.

Each operation passes it back by its slope between two runs, at the baseline and at x, instead of
its derivative. `lockstep` runs the graph, and each rule for a slope has a file.
"""

from unitrank_engine.methods.deeplift.method import FAMILY, DeepLiftMethod

__all__ = ["FAMILY", "DeepLiftMethod"]
