"""`rrelu` in evaluation mode: a leaky ReLU with the mean of its two slopes."""

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError

Number = int | float


def rrelu(x: Tensor, lower: Number = 1 / 8, upper: Number = 1 / 3, training: int = False, generator: None = None) -> Tensor:
    """The leaky ReLU.

    Raises EngineError `training_mode` when `training` is true or a number other than 0.
    """
    if training:
        raise EngineError(
            "training_mode",
            f"aten.rrelu draws random slopes, because its argument `training` is {training!r}; "
            "call model.eval() before torch.export.export",
        )
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)
