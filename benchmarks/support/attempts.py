"""Runs an upload between guard pages: the inspection first, and then a job."""

from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, fx

from benchmarks.support.guard import FILLS, guarded
from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_engine.program.program import ProgramValue
from unitrank_engine.torch_private import tree_leaves

FINDING = "FINDING"


def attempt(upload: Path, target: Path, random: Random) -> str:
    """`passed`, `refused` with a code, `failed` with an error of the job, or a finding.

    An error without a code is a finding too: a broken process must not count as a refusal.
    """
    left = random.random() < 0.5
    try:
        clean(upload, target)
        with guarded(FILLS[0], left=left, tensors_only=True):
            program = Program.from_exported(load(target))
            _inspect(program)
    except (ArchiveError, EngineError) as error:
        return f"refused {error.code}: {error.detail}"
    except Exception as error:
        if is_out_of_memory(error):
            return "refused out of memory"
        return f"{FINDING}: the inspection raised {type(error).__name__}: {error}"
    state = random.getstate()
    results = []
    for fill, side in ((FILLS[0], left), (FILLS[1], left), (FILLS[0], not left)):
        random.setstate(state)
        with guarded(fill, left=side):
            results.append(job(program, random))
    first, second, _ = results
    if isinstance(first, str) or isinstance(second, str):
        return f"failed: {first}" if first == second else f"{FINDING}: {first!s:.200} with one fill, {second!s:.200} with another"
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        if not _same_bits(one, other):
            return f"{FINDING}: result {index} of the job depends on what new memory holds: {one} and {other}"
    return "passed"


def _inspect(program: Program) -> None:
    try:
        manifest(program)
    except EngineError as error:
        # An archive can hide that its rows depend on each other: it multiplies the result by zero.
        if error.code != "rows_depend":
            raise


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one type hold the same bits: NaN equals itself, and 0 is not -0."""
    return one.shape == other.shape and torch.equal(_bits(one), _bits(other))


def _bits(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1)).view(torch.uint8)


def job(program: Program, random: Random) -> list[Tensor] | str:
    """The values and gradients of a job at two batch sizes, or its error."""
    results = []
    try:
        for rows in (2, 5):
            inputs = program.lift(tuple(_example(random, value, rows) for value in program.inputs.values()))
            with torch.no_grad():
                values = _Values(program.module)
                values.run(*inputs)
            results += [*values.kept, *_with_gradients(program.module, inputs)]
    except MemoryError:
        return "MemoryError"
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return results


class _Values(fx.Interpreter):
    """Keeps the result of each operator, because an archive can hide it from the output: 0 * x."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.kept: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_function":
            self.kept += [leaf.clone() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result


def _with_gradients(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The output, and the gradient of its sum for each real input."""
    real = [tensor.is_floating_point() for tensor in inputs]
    given = [tensor.detach().requires_grad_() if each else tensor for tensor, each in zip(inputs, real, strict=True)]
    value = tree_leaves(module(*given))[0]
    if not value.requires_grad:
        return [value]
    moved = [tensor for tensor, each in zip(given, real, strict=True) if each]
    gradients = torch.autograd.grad(value.sum(), moved, allow_unused=True)
    return [value, *(gradient for gradient in gradients if gradient is not None)]


def _example(random: Random, value: ProgramValue, rows: int) -> Tensor:
    shape = [rows, *(int(size) for size in value.shape[1:] if size is not None)]
    generator = torch.Generator().manual_seed(random.randrange(1 << 30))
    if not value.dtype.is_floating_point:
        return torch.randint(*random.choice([(0, 2), (0, 5), (-1, 12)]), shape, generator=generator).to(value.dtype)
    numbers = torch.randn(shape, generator=generator)
    if random.random() < 0.3 and numbers.numel():
        numbers.view(-1)[random.randrange(numbers.numel())] = random.choice([float("nan"), float("inf"), -float("inf"), 1e30, 0.0])
    return numbers.to(value.dtype)
