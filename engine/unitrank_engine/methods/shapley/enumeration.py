"""Exact Shapley values: all sets of a few units are replaced.

With S the replaced units of n, unit i gets Σ over S without i of |S|! (n − |S| − 1)! / n! times
F(S) − F(S and i).
"""

from math import factorial

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def all_sets(units: int, device: torch.device) -> Bool[Tensor, "sets units"]:
    """Return all sets of the units. The bits of a set's number are its units, the lowest first."""
    numbers = torch.arange(2**units, device=device)[:, None]
    return (numbers >> torch.arange(units, device=device)) % 2 == 1


def shapley_values(f: Float[Tensor, "sets rows"], changes: Bool[Tensor, "rows units"]) -> Float[Tensor, "rows units"]:
    """Return the exact Shapley values.

    `f`: F with each set of `all_sets` replaced.
    `changes`: whether each unit differs from its fill. Units that do not differ get exactly 0.
    """
    units = changes.shape[1]
    sets = all_sets(units, f.device)
    # Replacing a unit that equals its fill changes nothing, but the passes may round differently.
    numbers = ((sets & changes[:, None]) * 2 ** torch.arange(units, device=f.device)).sum(-1)
    values = f.double().gather(0, numbers.T).T @ _weights(sets)
    return torch.where(changes, values, 0.0)


def _weights(sets: Bool[Tensor, "sets units"]) -> Float[Tensor, "sets units"]:
    """Return the weight of each F in each unit's value."""
    units = sets.shape[1]
    share = [factorial(size) * factorial(units - size - 1) / factorial(units) for size in range(units)]
    by_size = torch.tensor([*share, 0.0], dtype=torch.float64, device=sets.device)
    sizes = sets.sum(1)[:, None]
    # The weight of a set with the unit is that of the set without it. No set has −1 units.
    return torch.where(sets, -by_size[(sizes - 1).clamp(min=0)], by_size[sizes])
