"""The highest of several lines: each gets the share of the way on which it is the one."""

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.methods.deeplift.rescale import change


def shares(
    start: Float[Tensor, "rows candidates *rest"], end: Float[Tensor, "rows candidates *rest"]
) -> Float[Tensor, "rows candidates *rest"]:
    """Of t from 0 to 1, the part on which each candidate's line start + t·(end − start) is the highest; of equal lines the first.

    What is infinite at one end only is held as it is at x, as everywhere along a line.

    Exact: from the highest at t = 0 on, the next to be highest is the first that overtakes it. There are as many turns as the
    highest has pieces, and few of them: about the logarithm of the candidates where these are random.
    """
    rises = change(start, end)
    start, rises = torch.where(rises.isfinite(), start, end), torch.where(rises.isfinite(), rises, 0.0)
    top = start.amax(1, keepdim=True)
    # of those that start highest the steepest
    leader = torch.where(start == top, rises, -torch.inf).argmax(1, keepdim=True)
    result = torch.zeros_like(rises)
    t = torch.zeros_like(top)
    # none leads twice
    for _ in range(start.shape[1]):
        lag, gain = start.gather(1, leader) - start, rises - rises.gather(1, leader)
        meeting, rival = torch.where(gain > 0, lag / gain, torch.inf).min(1, keepdim=True)
        # a meeting that rounding has put before t is one at t
        until = meeting.maximum(t).clamp_max(1)
        result.scatter_add_(1, leader, until - t)
        if bool((until >= 1).all()):
            break
        leader, t = torch.where(until < 1, rival, leader), until
    return result
