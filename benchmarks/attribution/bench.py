"""The paper's network for the engine and for Captum: runs, times and equal errors."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import LayerConductance
from examples.paper import Net
from safetensors.torch import load_file
from torch import Tensor

from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import Table, open_table

CLASSES = 10
RESOLVED = {"model": {"name": "m", "digest": "sha256:" + "0" * 64}, "dataset": {"name": "d", "digest": "sha256:" + "1" * 64}}
BATCHES = (20, 50, 100, 200, 500, 1000)


class Bench:
    """The paper's network and the first `images` test images, for the engine and for Captum."""

    def __init__(self, data: Path, folder: Path, images: int) -> None:
        self.net = Net().eval()
        self.net.load_state_dict(load_file(data / "allconv.safetensors"))
        batch = torch.export.Dim("batch", min=1)
        self.program = Program.from_exported(
            torch.export.export(self.net, (torch.zeros(2, 1, 28, 28),), dynamic_shapes=({0: batch},))
        )
        arrays = np.load(data / "t10k.npz")
        np.savez(folder / "images.npz", x=arrays["x"][:images], y=arrays["y"][:images])
        self.table: Table = open_table(folder / "images.npz")
        self.x = torch.from_numpy(arrays["x"][:images]).float()

    def request(self, layer: str, method: dict[str, Any], **more: Any) -> JobRequest:
        settings = {"ablation": None, "fidelity": None, "target": {"class": 3}, "inputs": {"x": "x"}} | more
        parsed = JobRequest.model_validate({"model": "m", "dataset": "d", "layer": layer, "methods": [method], **settings})
        return parsed.model_copy(update={"methods": with_ids(parsed.methods)})

    def job(self, layer: str, method: dict[str, Any], **more: Any) -> np.ndarray:
        """The mean scores, computed by a whole job as a worker runs it."""
        request = self.request(layer, method, **more)
        _, arrays = run(request, RESOLVED, self.program, self.table, lambda progress: None)
        return arrays[f"importance/{request.methods[0].id}"][0]

    def classes(self, layer: str, method: dict[str, Any], **more: Any) -> None:
        """Run a job that explains every class."""
        request = self.request(layer, method, **more, target={"class": "each"})
        run(request, RESOLVED, self.program, self.table, lambda progress: None)

    def captum(self, kind: Any, layer: str, size: int, images: int | None = None, **options: Any) -> np.ndarray:
        """The mean scores, computed by Captum in batches of `size` images."""
        method, total = kind(self.net, getattr(self.net, layer)), 0.0
        x = self.x[:images]
        for first in range(0, len(x), size):
            batch = x[first : first + size]
            total = total + method.attribute(batch, target=3, **options).detach().double().sum(0)
        assert isinstance(total, Tensor)
        return total.flatten().numpy() / len(x)


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def in_turns(repeats: int, *calls: Callable[[], Any]) -> list[float]:
    """The median seconds of each call. The calls alternate, after one run each to warm up."""
    for call in calls:
        call()
    rounds = [[timed(call) for call in calls] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def best_size(call: Callable[[int], Any], sizes: tuple[int, ...] = BATCHES) -> int:
    """The batch size with which the call is fastest."""
    return min(sizes, key=lambda size: min(timed(lambda: call(size)) for _ in range(2)))


def agree(engine: np.ndarray, captum: np.ndarray, within: float) -> None:
    """Raises SystemExit if the scores differ by more than `within` times the largest score."""
    difference = np.abs(engine - captum).max() / np.abs(captum).max()
    if difference > within:
        raise SystemExit(
            f"the engine's and Captum's outputs differ by {difference:.1e} of the largest score; at most {within:.0e} is accepted"
        )


@dataclass(frozen=True)
class EqualError:
    """Conductance at equal error, on the first quarter of the images.

    Captum runs its default, 50 Gauss–Legendre nodes. The engine runs on α = t³ with the smallest
    number of steps whose error is at most Captum's error.

    `method`: the engine's method. `size`: Captum's fastest batch size. `errors`: both errors, as
    shares of the largest score.
    """

    bench: Bench
    layer: str
    images: int
    method: dict[str, Any]
    size: int
    errors: str

    @classmethod
    def of(cls, bench: Bench, layer: str) -> "EqualError":
        images = len(bench.x) // 4
        part = _first(images)
        truth = bench.job(layer, {"name": "conductance", "steps": 1000}, **part)
        captum_error = np.abs(bench.captum(LayerConductance, layer, 20, images, baselines=0) - truth).max()
        for steps in range(2, 51):
            method = {"name": "conductance", "id": "cubic", "steps": steps, "rule": "trapezoid", "spacing": "cubic"}
            engine_error = np.abs(bench.job(layer, method, **part) - truth).max()
            if engine_error <= captum_error:
                break
        errors = f"errors {engine_error / np.abs(truth).max():.1e} to {captum_error / np.abs(truth).max():.1e}"
        size = best_size(lambda size: bench.captum(LayerConductance, layer, size, images, baselines=0), (10, 20, 50))
        return cls(bench, layer, images, method, size, errors)

    @property
    def steps(self) -> int:
        return int(self.method["steps"])

    @property
    def request(self) -> dict[str, Any]:
        """The fields of a request that select the images."""
        return _first(self.images)

    def engine(self) -> None:
        """Explain one class with the engine."""
        self.bench.job(self.layer, self.method, **self.request)

    def all_classes(self) -> None:
        """Explain every class with the engine."""
        self.bench.classes(self.layer, self.method, **self.request)

    def captum(self) -> None:
        """Explain one class with Captum."""
        self.bench.captum(LayerConductance, self.layer, self.size, self.images, baselines=0)


def _first(images: int) -> dict[str, Any]:
    return {"clusters": {"by": "members", "members": {"some": list(range(images))}}}
