"""Measure how much longer a checked archive takes to load than `torch.export.load` of the upload.

`python -m benchmarks.loading` loads the architectures of the tests. Three steps are measured: `raw`
is `torch.export.load`, `clean` reads, checks and rewrites the upload, and `load` loads the clean
archive. The last line, `heavy`, is a network with large weights and a small graph. The line shows
the time to copy, check and hash the bytes of weights; the goal does not apply to this network.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tests.engine.architectures import zoo
from torch import nn

from unitrank_engine.archive import clean, load

GOAL = 3.0
WIDTH, DEPTH = 2048, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="measured loads of each kind, after one that warms up")
    parser.add_argument("--nets", nargs="+", choices=zoo.MAKERS, default=list(zoo.MAKERS), help="architectures to load")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    print(f"median milliseconds of {repeats} loads; the ratio is (clean + load) / raw, goal: at most {GOAL:g}")
    print(f"{'':12}{'archive':>10}{'raw':>9}{'clean':>9}{'load':>9}{'ratio':>8}")
    slow = [name for name in arguments.nets if _print_times(name, zoo.export(name), repeats) > GOAL]
    _print_times("heavy", _heavy(), repeats)
    if slow:
        raise SystemExit(f"more than {GOAL:g} times as long as a raw load: {', '.join(slow)}")


def _heavy() -> torch.export.ExportedProgram:
    network = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)))
    return torch.export.export(network, (torch.zeros(2, WIDTH),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))


def _print_times(name: str, program: torch.export.ExportedProgram, repeats: int) -> float:
    """Print the median times; returns the ratio (clean + load) / raw."""
    with TemporaryDirectory(prefix="unitrank-loading-") as folder:
        upload = Path(folder, "model.pt2")
        torch.export.save(program, upload)
        raw, cleaning, loading = measure(upload, Path(folder, "clean.pt2"), repeats)
        size = upload.stat().st_size
    ratio = (cleaning + loading) / raw
    times = "".join(f"{seconds * 1000:9.1f}" for seconds in (raw, cleaning, loading))
    print(f"{name:12}{size / 1024:8.0f} K{times}{ratio:8.2f}", flush=True)
    return ratio


def measure(upload: Path, target: Path, repeats: int) -> list[float]:
    """The median seconds of a raw load, of cleaning, and of loading the clean archive.

    The three alternate, so that other load on the machine slows all of them equally.
    """
    steps: list[Callable[[], object]] = [
        lambda: torch.export.load(upload),
        lambda: clean(upload, target),
        lambda: load(target),
    ]
    seconds = [[_seconds(step) for step in steps] for _ in range(repeats + 1)]
    return [statistics.median(times) for times in zip(*seconds[1:], strict=True)]


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
