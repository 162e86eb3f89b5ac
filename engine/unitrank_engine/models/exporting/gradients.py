"""Compares the gradients of an archive with those of its module.

torch.export records the forward pass alone: the backward method of a `torch.autograd.Function`, and
hooks on modules and tensors that change gradients, are not in the archive. Both sides compute a
random projection of all outputs on two rows, and its gradients with respect to each real input and
each parameter. A second, larger projection reveals hooks that limit gradients.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.arguments import Arguments, spread
from unitrank_engine.models.exporting.backward_passes import Watch, backward_passes
from unitrank_engine.models.exporting.outputs import outputs_of
from unitrank_engine.models.exporting.parameters import Gradients, by_name, differentiable, has_gradient, read_parameters
from unitrank_engine.models.exporting.refusals import CODE
from unitrank_engine.program import Program
from unitrank_engine.torch_private import tree_flatten, tree_unflatten

CLOSE = {torch.float64: 1e-6, torch.complex128: 1e-6, torch.float32: 1e-3, torch.complex64: 1e-3}
COARSE = 5e-2
"""The accepted difference of a gradient, relative to its norm; `COARSE` in half precision."""
FLOOR = 1e-3
"""A gradient's least norm, in the units of its accepted difference, relative to the largest norm.

Some gradients are 0 but for rounding, such as that of the bias of a key in attention.
"""
LARGE = 1024.0


@dataclass(frozen=True)
class Eager:
    """The gradients of the module in eager PyTorch.

    `small`, `large`: the gradients of the two projections; `large` is divided by its size.
    `causes`: descriptions of the places that change gradients in the backward pass.
    """

    small: Gradients
    large: Gradients
    causes: list[str]


@contextmanager
def differentiating(module: nn.Module) -> Iterator[None]:
    """Enables gradients, also of frozen parameters; at the end, each parameter is as before."""
    frozen = [p for p in module.parameters() if not p.requires_grad and has_gradient(p) and not p.is_inference()]
    with torch.enable_grad():
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)


def eager_gradients(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Eager | None:
    """The module's gradients, or None if it has none: a warning says why.

    Call it within `differentiating`.
    """
    leaves, spec = tree_flatten((args, kwargs))
    inputs = {f"input {number}": _leaf(leaf) for number, leaf in enumerate(leaves) if _is_real(leaf)}
    given = [inputs.get(f"input {number}", leaf) for number, leaf in enumerate(leaves)]
    given_args, given_kwargs = tree_unflatten(given, spec)
    # A hook on a parameter changes the gradient of the parameter alone, which no method uses.
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad and not p._backward_hooks}
    try:
        with Watch() as watch:
            outputs = outputs_of(module, (given_args, given_kwargs))
        causes = backward_passes(module, outputs, watch)
        small = _gradients(outputs, inputs | parameters, keep=True)
        half = any(output.dtype in (torch.float16, torch.bfloat16) for output in outputs)
        large = small if half else _gradients(outputs, inputs | parameters, size=LARGE)
    except (RuntimeError, NotImplementedError, EngineError) as error:
        warnings.warn(
            "the gradients of the archive are not compared with those of the module, because the module has no gradients in "
            f"eager PyTorch: '{str(error).partition(chr(10))[0]}'",
            stacklevel=2,
        )
        return None
    return Eager(small, large, causes)


def check_gradients(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    program: Program,
    exported: ExportedProgram,
    program_of: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[Program, ExportedProgram]],
) -> Literal["checked", "unknown"]:
    """Whether the gradients are compared. Raises EngineError `not_exportable` if they differ.

    Rounding can make the gradients of a right archive differ, so that a difference is looked at
    again in double precision, with the program that `program_of` exports for it.
    """
    with differentiating(module):
        eager = eager_gradients(module, args, kwargs)
    if eager is None:
        return "unknown"
    differing = _differing(eager, _of_program(program, exported, args, kwargs, module))
    if differing and not _agree_in_double(module, args, kwargs, program_of, differing):
        raise EngineError(CODE, _message(differing, eager.causes))
    # The backward method of a rounding step can be right at small values alone.
    for given in spread((args, kwargs)) if eager.causes else ():
        differing = _differing_at(module, given, program, exported)
        if differing and not _agree_in_double(module, *given, program_of, differing):
            raise EngineError(CODE, _message(differing, eager.causes))
    return "checked"


def _differing_at(module: nn.Module, given: Arguments, program: Program, exported: ExportedProgram) -> dict[str, float]:
    """The gradients that differ at other inputs than the examples; empty where a side fails."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        with differentiating(module):
            eager = eager_gradients(module, *given)
        return _differing(eager, _of_program(program, exported, *given, module)) if eager else {}
    return {}


def _agree_in_double(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    program_of: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[Program, ExportedProgram]],
    differing: dict[str, float],
) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            double = copy.deepcopy(module).double()
            leaves, spec = tree_flatten((args, kwargs))
            args, kwargs = tree_unflatten([leaf.double() if _is_real(leaf) else leaf for leaf in leaves], spec)
            program, exported = program_of(double, args, kwargs)
            with differentiating(double):
                eager = eager_gradients(double, args, kwargs)
            return eager is not None and not _differing(eager, _of_program(program, exported, args, kwargs, double))
    except (EngineError, RuntimeError, TypeError, copy.Error):
        # Some modules do not run in double precision, and some cannot be copied, because they keep
        # a computed tensor. Then a difference stands if rounding cannot explain it.
        return max(differing.values()) < COARSE


def _gradients(outputs: Sequence[Tensor], of: Gradients, *, size: float = 1.0, keep: bool = False) -> Gradients:
    """The gradients of a random projection of the outputs, multiplied by `size`, over `size`."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs:
        weights = torch.randn(output.shape, generator=generator).to(output)
        if _is_real(output):
            total = total + torch.where(output.isfinite(), output * weights, 0).sum().double().cpu()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in of.items()}
    if not total.requires_grad or not of:
        return zeros
    gradients = torch.autograd.grad(total * size, list(of.values()), retain_graph=keep, allow_unused=True)
    return {
        name: zeros[name] if gradient is None else gradient.detach() / size for name, gradient in zip(of, gradients, strict=True)
    }


def _of_program(
    program: Program, exported: ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any], module: nn.Module
) -> Gradients:
    """The gradients of the archive, under the names of the module's parameters."""
    leaves, _ = tree_flatten((args, kwargs))
    given = {
        name: (f"input {number}", leaf)
        for number, (name, leaf) in enumerate(zip(exported.graph_signature.user_inputs, leaves, strict=False))
    }
    values = {name: _leaf(given[name][1]) if _is_real(given[name][1]) else given[name][1] for name in program.inputs}
    parts = [program.module] if program.look_up is None else [program.module, program.look_up]
    named = [pair for part in parts for pair in part.named_parameters(remove_duplicate=False)]
    parameters = {id(parameter): parameter for _, parameter in named if has_gradient(parameter)}
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        with torch.enable_grad():
            inputs = tuple(values.values())
            lifted = inputs if program.look_up is None else (*inputs, *program.look_up(*inputs))
            outputs = [leaf for leaf in tree_flatten(program.module(*lifted))[0] if isinstance(leaf, Tensor)]
            real = {given[name][0]: value for name, value in values.items() if _is_real(value)}
            gradients = _gradients(outputs, real | {str(key): parameter for key, parameter in parameters.items()})
    finally:
        for parameter in parameters.values():
            parameter.requires_grad_(False)
    read = read_parameters(exported)
    return {name: gradients[name] for name in real} | by_name(module, dict(differentiable(named)), gradients, read)


def _differing(eager: Eager, archive: Gradients) -> dict[str, float]:
    """Name → relative difference, for each gradient that differs."""
    differing: dict[str, float] = {}
    for gradients in (eager.small, eager.large):
        sizes = {name: _norm(gradient) for name, gradient in gradients.items()}
        compared = {name: gradient for name, gradient in gradients.items() if name in archive}
        largest = max((*sizes.values(), *(_norm(archive[name]) for name in compared)), default=0.0)
        for name, gradient in compared.items():
            difference, size = _norm(gradient - archive[name]), max(sizes[name], _norm(archive[name]), FLOOR * largest)
            if difference > CLOSE.get(gradient.dtype, COARSE) * size:
                differing.setdefault(name, difference / size)
    return differing


def _norm(gradient: Tensor) -> float:
    parts = torch.view_as_real(gradient) if gradient.is_complex() else gradient
    return float(parts.double().nan_to_num(0.0, 0.0, 0.0).norm())


def _message(differing: dict[str, float], causes: Sequence[str]) -> str:
    name, difference = max(differing.items(), key=lambda pair: pair[1])
    places = "".join(f"\n  {cause}" for cause in causes) or "\n  a value that is changed in place under torch.no_grad()"
    return (
        f"the network cannot be exported: its gradients in eager PyTorch differ from those of its forward pass, by "
        f"{difference:.0%} for {name}. An archive holds the forward pass alone. Possible causes:{places}\n"
        "remove the hook before the export; or return g + (f - g).detach() from forward, which has the value of f "
        "and the gradient of g"
    )


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def _is_real(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
