"""Measure forward and gradient passes of a convolutional network at several batch sizes."""

import argparse
import statistics
import time

import torch
from examples.paper import Net
from torch import nn

from unitrank_engine.job.batch_size import bytes_per_row, rows_at_once
from unitrank_engine.program import Program, Split

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2048, help="total rows, the same for each size")
    parser.add_argument("--repeats", type=int, default=5, help="measured passes at each size")
    arguments = parser.parse_args()
    program = program_of(Net(), torch.zeros(2, 1, 28, 28))
    chosen = rows_at_once(program)
    print(f"all-convolutional network, {bytes_per_row(program.module.graph)} bytes a row, {torch.get_num_threads()} threads")
    for layer in ("relu1", "relu2"):
        split = program.split(program.place(layer, "output"), "output")
        seconds = measure(split, sorted({*SIZES, chosen}), arguments.rows, arguments.repeats)
        best = min(seconds.values())
        for size, value in seconds.items():
            mark = "  <- chosen" if size == chosen else ""
            print(f"{layer}  {size:5} rows at once  {arguments.rows / value:8.0f} rows/s  {value / best:5.2f} x best time{mark}")


def program_of(net: nn.Module, example: torch.Tensor) -> Program:
    """The network as the engine runs it."""
    exported = torch.export.export(net.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    return Program.from_exported(exported)


def measure(split: Split, sizes: list[int], rows: int, repeats: int) -> dict[int, float]:
    """The median seconds for all rows at each size.

    The sizes alternate, so that other load on the machine slows all of them equally.
    """
    x = torch.randint(0, 256, (rows, 1, 28, 28)).float()
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(repeats + 1):
        for size in sizes:
            began = time.perf_counter()
            for part in x.split(size):
                gradient(split, part)
            times[size].append(time.perf_counter() - began)
    return {size: statistics.median(values[1:]) for size, values in times.items()}


def gradient(split: Split, x: torch.Tensor) -> torch.Tensor:
    """∂F/∂h for the first class."""
    h, live = split.head((x,))
    h.requires_grad_()
    gradients: torch.Tensor = torch.autograd.grad(split.tail(h, live)[:, 0].sum(), h)[0]
    return gradients


if __name__ == "__main__":
    main()
