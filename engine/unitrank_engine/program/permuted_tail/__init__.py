"""Permutes the weights behind a place: the entries of each parameter tensor that the tail reads.

- `own_weights` makes a program whose tail reads weights of its own, so that the head keeps a weight
  that both use.
- `weights` permutes these weights and restores them.
"""

from unitrank_engine.program.permuted_tail.own_weights import OwnTail, own_tail

__all__ = ["OwnTail", "own_tail"]
