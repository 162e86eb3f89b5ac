"""Checks the modes of `grid_sample`: an unknown mode leaves the result unwritten."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from unitrank_engine.errors import EngineError

aten = torch.ops.aten

SAMPLERS = (aten.grid_sampler_2d.default, aten.grid_sampler_3d.default)
MODES = (0, 1, 2)
"""The numbers of bilinear, nearest and bicubic; and of zeros, border and reflection."""


def check_sampler(node: fx.Node, arguments: Mapping[str, Any]) -> None:
    """Raises EngineError `program_refused` for a mode that torch does not have."""
    for name in ("interpolation_mode", "padding_mode"):
        if arguments[name] not in MODES:
            raise EngineError(
                "program_refused", f"{node.name} ({node.target}): {name} is {arguments[name]}; expected one of {list(MODES)}"
            )
