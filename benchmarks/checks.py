"""Measure the checks of memory in a job: `python -m benchmarks.checks`.

Two checks cost time in a job: its first passes compare each result with the trace, and on a CPU new
memory is filled. Each check is measured on pairs of jobs, one with the check and one without, in
turns. Each job is the first of its model: it loads the archive, and all its shapes are new. A line
has the seconds of a job and the median of the pairs' differences in percent.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from examples.paper import Net
from tests.engine.in_process import rank
from torch import Tensor, fx, nn

from unitrank_engine.archive import load
from unitrank_engine.models.exporting import export
from unitrank_engine.program import Program
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.program.proof.uninitialised import filled_memory

METHODS: list[Any] = [{"name": "activation"}, {"name": "conductance"}, {"name": "deeplift"}]


class Last(nn.Module):
    """The last step of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        steps: Tensor = self.lstm(x)[0]
        return steps[:, -1]


def networks(examples: int) -> dict[str, tuple[nn.Module, Tensor, str]]:
    """Network, examples and the layer to rank, by name."""
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return {
        "mlp": (nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5)), torch.randn(examples, 20), "1"),
        "paper": (Net(), torch.rand(examples, 1, 28, 28), "relu2"),
        "lstm": (nn.Sequential(Last(), nn.Linear(32, 5)), torch.randn(examples, 20, 16), "0"),
        "transformer": (nn.Sequential(block, nn.Flatten(), nn.Linear(256, 5)), torch.randn(examples, 8, 32), "0"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=500, help="number of examples of a job")
    parser.add_argument("--pairs", type=int, default=15, help="number of pairs of jobs")
    parser.add_argument("--nets", nargs="+", default=["mlp", "paper", "lstm", "transformer"], help="networks to measure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.nets:
        net, x, layer = networks(arguments.examples)[name]
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "model.pt2")
            export(net, x[:4], archive)
            for check, without, with_check in (("compare", _uncompared, nullcontext), ("fill", nullcontext, filled_memory)):
                pairs = list(_pairs(archive, x, layer, without, with_check, count=arguments.pairs))
                percent = statistics.median(100 * (second / first - 1) for first, second in pairs)
                print(f"{name:12}{check:8} {min(pairs)[0]:7.3f} s {percent:+6.2f} %", flush=True)


Mode = Callable[[], AbstractContextManager[Any]]


def _pairs(archive: Path, x: Tensor, layer: str, *modes: Mode, count: int) -> Iterator[tuple[float, float]]:
    """Seconds of CPU of a model's first job in each of two modes; the first pair is not counted."""
    for number in range(count + 1):
        seconds = [0.0, 0.0]
        for mode in (0, 1) if number % 2 else (1, 0):
            with tempfile.TemporaryDirectory() as folder, modes[mode]():
                began = time.process_time()
                program = Program.from_exported(load(archive))
                program.fills_memory = False
                fields = {"x": x.numpy(), "y": np.arange(len(x)) % 5}
                rank(program, Path(folder), fields, layer, METHODS, ablation={"random": 19})
                seconds[mode] = time.process_time() - began
        if number:
            yield seconds[0], seconds[1]


@contextmanager
def _uncompared() -> Iterator[None]:
    """A context manager in which graphs compare nothing."""
    call, compare = CheckedGraph.__call__, CheckedGraph.compare
    CheckedGraph.__call__ = fx.GraphModule.__call__  # type: ignore[method-assign]
    CheckedGraph.compare = lambda self, *inputs: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        CheckedGraph.__call__, CheckedGraph.compare = call, compare  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
