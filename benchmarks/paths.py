"""Compare the spacings `cubic` and `adaptive` of conductance: relative gap and time at equal steps.

`python -m benchmarks.paths [--steps 20] [--repeats 5]`. A ratio of times is the seconds of
`adaptive` divided by those of `cubic`, medians of `--repeats` jobs on 64 examples.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tests.engine.in_process import rank
from tests.engine.methods.path import bias_free
from tests.engine.nets import MAKERS, net_of, program

from unitrank_engine.program import Program

EXAMPLES = 64
SPACINGS = ("cubic", "adaptive")


def places() -> list[tuple[str, str, Program, np.ndarray]]:
    """Each net's name, its first cut, its program and its examples."""
    nets = []
    for name in MAKERS:
        net = net_of(name)
        layer = next(layer for layer, at in net.taps if at == "output" and (layer, at) not in net.bypassed)
        nets.append((name, layer, program(name), net.examples(EXAMPLES).numpy()))
    for name, (_, shape, layers) in bias_free.NETS.items():
        x = np.random.default_rng(1).normal(size=(EXAMPLES, *shape)).astype(np.float32)
        nets.append((name, layers[0], bias_free.net(name)[1], x))
    return nets


def measure(folder: Path, layer: str, net: Program, x: np.ndarray, steps: int, spacing: str) -> tuple[float, float]:
    """Return the relative gap and the seconds of a job."""
    method = {"name": "conductance", "spacing": spacing, "steps": steps}
    target: dict[str, Any] = {"class": None if next(iter(net.outputs.values())).shape[-1] == 1 else 0}
    began = time.perf_counter()
    summary, _ = rank(net, folder, {"x": x}, layer, [method], ablation=None, fidelity=None, target=target)
    seconds = time.perf_counter() - began
    gap: float = summary["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"]
    return gap, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    lines = Table("net", "place", "gap cubic", "gap adaptive", "time adaptive / cubic")
    with tempfile.TemporaryDirectory() as folder:
        for name, layer, net, x in places():
            run = partial(measure, Path(folder), layer, net, x, options.steps)
            rounds = [[run(spacing) for spacing in SPACINGS] for _ in range(options.repeats)]
            gaps = [gap for gap, _ in rounds[0]]
            cubic, adaptive = (statistics.median(seconds for _, seconds in column) for column in zip(*rounds, strict=True))
            lines.add_row(name, layer, *(f"{gap:.2g}" for gap in gaps), f"{adaptive / cubic:.1f}")
    Console(width=100).print(lines)


if __name__ == "__main__":
    main()
