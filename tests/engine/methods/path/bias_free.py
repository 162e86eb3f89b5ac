"""Bias-free nets whose target changes in the first part of the path from zeros."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

EPS = 1e-12
"""The smallest norm that `normalize` divides by."""
PATHS = ["conductance", "integrated_gradients", "internal_influence"]


class Normalised(nn.Module):
    """F = c · h / |h| of h = W x; all of F's change happens while |h| is below EPS."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(5, 6, bias=False), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(normalize(self.fc(x), dim=-1))
        return out


class Towers(nn.Module):
    """The cosine of two towers without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (
            nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 6, bias=False)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x[:, :4]), self.right(x[:, 4:])
        return (normalize(left, dim=-1) * normalize(right, dim=-1)).sum(-1, keepdim=True)


class RootMeanSquare(nn.Module):
    """A block of a language model: RMSNorm and a gated layer around a residual, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.gate = nn.Linear(8, 16, bias=False), nn.Linear(8, 16, bias=False)
        self.down, self.out = nn.Linear(16, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(x)
        x = x + self.down(silu(self.gate(hidden)) * self.up(hidden))
        out: Tensor = self.out(self.norm(x).mean(1))
        return out

    def norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...], list[str]]] = {
    "normalised": (Normalised, (5,), ["fc", "input"]),
    "towers": (Towers, (8,), ["input", "left"]),
    "rms": (RootMeanSquare, (3, 8), ["input"]),
}


@cache
def net(name: str) -> tuple[nn.Module, Program, np.ndarray]:
    kind, shape, _ = NETS[name]
    torch.manual_seed(0)
    module = kind().eval()
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    return module, program_of(module, torch.ones(2, *shape)), x


def job(name: str, folder: Path, layer: str, methods: list[Any], **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    _, program, x = net(name)
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 0}, "keep_examples": len(x)}
    if name == "towers":
        settings["target"] = {"class": None}
    return rank(program, folder, {"x": request.pop("x", x)}, layer, methods, **(settings | request))


def adaptive_at(name: str, steps: int, **options: Any) -> dict[str, Any]:
    return {"name": name, "spacing": "adaptive", "steps": steps, **options}


def unresolved(summary: dict[str, Any]) -> list[str]:
    return [warning["ranking"] for warning in summary["warnings"] if warning["code"] == "path_not_resolved"]
