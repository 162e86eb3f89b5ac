"""DeepLIFT: the change of the target against the baseline, carried back by each operation's slope between the two runs."""

from unitrank_engine.methods.deeplift.method import FAMILY, DeepLiftMethod

__all__ = ["FAMILY", "DeepLiftMethod"]
