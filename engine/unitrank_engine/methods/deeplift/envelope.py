"""The upper envelope of several lines: the share of [0, 1] on which each line is the highest."""

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.deeplift.rescale import change


def shares(
    start: Float[Tensor, "rows candidates *rest"], end: Float[Tensor, "rows candidates *rest"]
) -> Float[Tensor, "rows candidates *rest"]:
    """Return the part of [0, 1] on which each line start + t · (end − start) is the highest.

    Of equal lines, the first line gets the share. If a value is infinite at one of the two ends,
    the value at x is used at both ends.

    The shares are exact. The function begins with the highest line at t = 0; the next highest line
    is the first that overtakes the current one. The loop runs once for each piece of the envelope;
    random candidates have about log(number of candidates) pieces.

    >>> lines = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[4.0], [1.0]]])
    >>> shares(*lines).flatten()  # the first line overtakes the second one at t = 1/4
    tensor([0.7500, 0.2500])
    """
    rises = change(start, end)
    start, rises = torch.where(rises.isfinite(), start, end), torch.where(rises.isfinite(), rises, 0.0)
    top = start.amax(1, keepdim=True)
    # The first leader is the steepest of the lines that start highest.
    leader = torch.where(start == top, rises, -torch.inf).argmax(1, keepdim=True)
    result = torch.zeros_like(rises)
    t = torch.zeros_like(top)
    # A line leads at most once.
    for _ in range(start.shape[1]):
        lag, gain = start.gather(1, leader) - start, rises - rises.gather(1, leader)
        meeting, rival = torch.where(gain > 0, lag / gain, torch.inf).min(1, keepdim=True)
        # Rounding can put a meeting before t; it then counts as a meeting at t.
        until = meeting.maximum(t).clamp_max(1)
        result.scatter_add_(1, leader, until - t)
        if bool((until >= 1).all()):
            break
        leader, t = torch.where(until < 1, rival, leader), until
    return result
