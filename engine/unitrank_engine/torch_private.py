"""Private names of torch that the engine uses, all in this file.

Check this file first when torch has a new version. The names were seen in torch 2.13.0:

- `torch._ops.OpOverload` and `HigherOrderOperator`, `OpOverload._schema` and `_overloadname`,
- `OpOverload._op_dk` and `torch._C.DispatchKey`,
- `torch.utils._pytree`,
- `SymInt.node.expr`,
- `torch._subclasses.FakeTensor.fake_mode`, `torch._dispatch.python.enable_python_dispatcher`,
- for the trace of an export, `torch.export._draft_export.CaptureStructuredTrace` with its
  `log_record` and `_stream_path`, and `torch._logging.structured.INTERN_TABLE`,
- for `quick_decompositions`, `OpOverload.py_kernels` and `_dispatch_cache`, the dict
  `op_implementations_dict` of `torch._subclasses.fake_impls`, and three functions of
  `torch.export.exported_program`.
"""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._ops import HigherOrderOperator, OpOverload
from torch._subclasses import FakeTensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = [
    "HigherOrderOperator",
    "OpOverload",
    "argument_names",
    "composed",
    "expression_of",
    "guards_on_sizes",
    "has_no_statistics",
    "integer_arguments",
    "quick_decompositions",
    "returns_views",
    "schema_name",
    "structured_trace",
    "tracing_mode",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_unflatten",
]


def schema_name(operator: OpOverload) -> str:
    """The operator's name without its overload, such as `aten::relu`."""
    name: str = operator._schema.name
    return name


def argument_names(operator: OpOverload) -> list[str]:
    """The names of the operator's arguments, in order."""
    return [argument.name for argument in operator._schema.arguments]


def composed(operator: OpOverload) -> Callable[..., Any]:
    """The function that torch composes the operator of.

    `operator`: an operator that torch composes of others. Any: the results of operators differ.
    """
    return partial(operator._op_dk, torch._C.DispatchKey.CompositeImplicitAutograd)


@cache
def integer_arguments(operator: OpOverload) -> frozenset[str]:
    """The names of the operator's arguments that are integers or lists of integers.

    A type, which torch declares as an integer too, is not among them.
    """
    kinds = {argument.name: str(argument.real_type) for argument in operator._schema.arguments}
    return frozenset(name for name, kind in kinds.items() if re.search(r"\b(int|SymInt)\b", kind))


def returns_views(operator: OpOverload) -> bool:
    """Whether the operator's schema says that a result shares memory with an argument."""
    return any(argument.alias_info is not None for argument in operator._schema.arguments)


def has_no_statistics(operator: OpOverload) -> bool:
    """Whether the operator is the overload of batch norm without running statistics."""
    return bool(operator._overloadname == "no_stats")


def expression_of(size: torch.SymInt) -> Any:
    """The sympy expression of a symbolic size. Any: sympy has no type annotations."""
    return size.node.expr


@contextmanager
def tracing_mode(traces: Iterable[object]) -> Iterator[None]:
    """A context manager in which operators trace as they did for these tensors without data.

    torch's traces in Python keep symbolic sizes; those in C++ turn some into numbers.
    """
    modes: list[AbstractContextManager[object]] = [trace.fake_mode for trace in traces if isinstance(trace, FakeTensor)]
    with modes[0] if modes else nullcontext(), enable_python_dispatcher():
        yield


@contextmanager
def structured_trace() -> Iterator[Any]:
    """A context manager that records torch's structured trace of an export.

    The file that torch writes for the trace is removed at the end.
    """
    from torch.export._draft_export import CaptureStructuredTrace

    trace = CaptureStructuredTrace()
    try:
        with trace:
            yield trace
    finally:
        file = trace._stream_path
        trace.close()
        if file:
            Path(file).unlink(missing_ok=True)


@contextmanager
def quick_decompositions() -> Iterator[None]:
    """A context manager in which `run_decompositions` takes less time and returns the same.

    Each call changes the kernels of 525 operators that torch keeps whole, one by one, and restores
    them, in 170 of 260 ms for a small network. In this context a call changes them at once.
    """
    exported_program = _exported_program()
    # Both numbers grow when a library adds operators.
    kept = _kept_operators(len(torch._C._dispatch_get_all_op_names()), len(torch.ops._dir))
    collect, override = exported_program._collect_all_valid_cia_ops, exported_program._override_composite_implicit_decomp

    def override_at_once(decompositions: dict[OpOverload, Callable[..., Any]]) -> AbstractContextManager[None]:
        if decompositions.keys() == kept.added.keys():
            return kept.overridden(decompositions)
        by_torch: AbstractContextManager[None] = override(decompositions)
        return by_torch

    exported_program._collect_all_valid_cia_ops = lambda: set(kept.added)
    exported_program._override_composite_implicit_decomp = override_at_once
    try:
        yield
    finally:
        exported_program._collect_all_valid_cia_ops = collect
        exported_program._override_composite_implicit_decomp = override


@dataclass(frozen=True)
class _KeptOperators:
    """The operators that `run_decompositions` keeps whole.

    `added`: by operator, the kernels that torch adds during the call. `rules`: by operator, the
    function that torch adds for tensors without data. Any: a kernel is a function or a key.
    """

    added: dict[OpOverload, dict[Any, Any]]
    rules: dict[OpOverload, Callable[..., Any]]

    @contextmanager
    def overridden(self, decompositions: dict[OpOverload, Callable[..., Any]]) -> Iterator[None]:
        """A context manager in which these functions compose the operators."""
        from torch._subclasses.fake_impls import op_implementations_dict

        before = {operator: operator.py_kernels.copy() for operator in decompositions}
        for operator, decomposition in decompositions.items():
            kernels = self.added[operator] | before[operator]
            _replace(operator, kernels | {torch._C.DispatchKey.CompositeImplicitAutograd: decomposition})
        op_implementations_dict.update(self.rules)
        try:
            yield
        finally:
            for operator, kernels in before.items():
                _replace(operator, kernels)
                op_implementations_dict.pop(operator, None)


@lru_cache(maxsize=1)
def _kept_operators(operators: int, namespaces: int) -> _KeptOperators:
    """The operators, from one call of torch's own function. The numbers are those of torch now."""
    from torch._subclasses.fake_impls import op_implementations_dict

    exported_program = _exported_program()
    kept = exported_program._collect_all_valid_cia_ops()
    before = {operator: operator.py_kernels.copy() for operator in kept}
    with exported_program._override_composite_implicit_decomp(dict.fromkeys(kept, exported_program._special_op_to_preserve_cia)):
        added = {
            operator: {key: kernel for key, kernel in operator.py_kernels.items() if key not in before[operator]}
            for operator in kept
        }
        rules = {operator: op_implementations_dict[operator] for operator in kept if operator in op_implementations_dict}
    return _KeptOperators(added, rules)


def _exported_program() -> Any:
    """torch's module of this name. Any: its private functions have no types."""
    from torch.export import exported_program

    return exported_program


def _replace(operator: OpOverload, kernels: dict[Any, Any]) -> None:
    operator.py_kernels.clear()
    operator.py_kernels.update(kernels)
    operator._dispatch_cache.clear()


def guards_on_sizes(trace: Any) -> Iterator[list[traceback.FrameSummary]]:
    """The stack of each line that turned a symbolic size into a number.

    The innermost frame comes first.
    """
    from torch._logging.structured import INTERN_TABLE

    files = {number: file for file, number in INTERN_TABLE.items()}
    for key, guard in trace.log_record.logs:
        if key == "guard_added" and guard["expr"].startswith("Eq("):
            yield [
                traceback.FrameSummary(files.get(frame["filename"], "?"), frame["line"], frame["name"], line=frame["loc"])
                for frame in reversed(guard["user_stack"])
            ]
