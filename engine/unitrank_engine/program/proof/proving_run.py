"""Runs a graph node by node and checks each result before the next operator runs.

torch traces a graph without data: it computes the shape, type and strides of each result, and
kernels and checks rely on them. Some traces are wrong. For example, an index with axes and one
without are traced as one number, and give many. A kernel behind such a result would write beyond
its memory.

Some kernels do not write all of their result. The rest holds what another job left in the memory.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx

from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.program.contracts.invented import invented_values
from unitrank_engine.program.proof.uninitialised import filled_memory, unfilled_memory
from unitrank_engine.torch_private import OpOverload, expression_of, tree_leaves

ROWS = (3, 1)
"""The batch sizes of the proving run."""
ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
"""An operator with several kernels, of different layouts.

torch chooses one by its arguments, and by whether gradients are needed.
"""
OTHER_ROWS = (2, 3, 1, 4)
"""The batch sizes that show whether a failure depends on the batch size."""


def prove(module: fx.GraphModule, shapes: Sequence[Sequence[int | None]], device: torch.device) -> None:
    """Runs the graph at two batch sizes, on the device of its parameters.

    `shapes`: the shape of each input of the graph; None is the batch.

    Raises EngineError: `shape_not_as_traced` at the first result that differs from its trace,
    `unwritten_memory` at the first result that an operator leaves partly unwritten, and
    `model_does_not_run` when an operator fails.
    """
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]

    def inputs(rows: int) -> list[Tensor]:
        return [
            example([rows if size is None else size for size in shape], node.meta["val"].dtype, device)
            for shape, node in zip(shapes, nodes, strict=True)
        ]

    for rows in ROWS:
        try:
            with torch.no_grad(), filled_memory(), invented_values():
                ProvingRun(module, strides=rows > 1 and device.type == "cpu").run(*inputs(rows))
        except EngineError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise does_not_run(error, rows, lambda rows: module(*inputs(rows))) from error


def does_not_run(error: Exception, rows: int, run: Callable[[int], object]) -> EngineError:
    """The error of a model that fails at a batch size, or on the values of an inspection.

    `rows`: the batch size that failed.
    `run`: runs the model at another batch size.
    """
    reason = str(error).partition("\n")[0][:300] or type(error).__name__
    other = next((size for size in OTHER_ROWS if size != rows and _runs(run, size)), None)
    if other is None:
        return EngineError(
            "model_does_not_run",
            f"the model fails on the values of the inspection, which are 0 and numbers from -1 to 1: {reason}; "
            "replace operators that fail on some values, and export the model again",
        )
    return EngineError(
        "model_does_not_run",
        f"the model fails at another batch size than at export, with {rows} rows and not with {other}: {reason}; "
        "replace fixed sizes in its code, such as x.view(2, -1) by x.view(x.shape[0], -1)",
    )


def _runs(run: Callable[[int], object], rows: int) -> bool:
    with suppress(Exception), torch.no_grad(), invented_values():
        run(rows)
        return True
    return False


class ProvingRun(fx.Interpreter):
    """Runs a graph and stops at the first result that differs from its trace or is not all written.

    `filled_memory` must be active: new memory then holds NaN, or the largest whole number.

    `strides`: whether strides are compared too. Correct strides differ at a batch of one, and in
    another memory layout than at export.
    `written`: whether an operator that may have left a part of its result unwritten runs again.
    """

    def __init__(self, module: fx.GraphModule, *, strides: bool, written: bool = True) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._strides, self._written = strides, written
        self._sizes = _Sizes()

    def run_node(self, n: fx.Node) -> Any:
        # Any: a node's result is a tensor, a number, or a tuple of those.
        result = self._result(n)
        if self._strides and n.target is ATTENTION and "val" in n.meta:
            result = self._in_traced_layout(result, n.meta["val"])
        if "val" in n.meta and n.op != "output" and n.users:
            self._compare(n, result)
        if self._written and isinstance(n.target, OpOverload) and any(map(_may_be_unwritten, tree_leaves(result))):
            self._check_written(n, result)
        return result

    def _result(self, node: fx.Node) -> Any:
        # Without the base class's records for tracebacks, five operators take 0.20 ms instead of
        # 0.25 ms.
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        return getattr(self, node.op)(node.target, args, kwargs)

    def _in_traced_layout(self, result: Tensor, trace: Tensor) -> Tensor:
        """The result in the traced layout: heads before positions in memory, or after."""
        layouts = (result, result.contiguous(), result.transpose(1, -2).contiguous().transpose(1, -2))
        return next((each for each in layouts if self._strides_agree(each, trace)), result)

    def _strides_agree(self, value: Tensor, trace: Tensor) -> bool:
        """Whether the strides of all axes with more than one element are as traced."""
        if value.dim() != trace.dim():
            return False
        pairs = zip(value.shape, value.stride(), trace.stride(), strict=True)
        return all(self._sizes.agree(stride, traced) for size, stride, traced in pairs if size > 1)

    def _check_written(self, node: fx.Node, result: Any) -> None:
        """Runs the operator again on memory without NaN: only what it wrote is the same."""
        litter = [torch.ones_like(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        del litter
        with unfilled_memory():
            again = self._result(node)
        for first, second in zip(tree_leaves(result), tree_leaves(again), strict=True):
            if isinstance(first, Tensor) and bool(_differing(first, second).any()):
                raise EngineError(
                    "unwritten_memory",
                    f"{node.name} ({node.target}) leaves {int(_differing(first, second).sum())} of {first.numel()} values "
                    "of its result unwritten; compute this value with another operator, and export the model again",
                )

    def _compare(self, node: fx.Node, result: Any) -> None:
        if isinstance(result, Tensor) and isinstance(node.meta["val"], Tensor):
            self._compare_tensor(node, result, node.meta["val"])
            return
        results, traces = tree_leaves(result), tree_leaves(node.meta["val"])
        if len(results) != len(traces):
            raise _differs(node, f"{len(results)} results", f"{len(traces)} results")
        for value, trace in zip(results, traces, strict=True):
            if isinstance(value, Tensor) != isinstance(trace, Tensor):
                raise _differs(node, f"a {type(value).__name__}", f"a {type(trace).__name__}")
            if isinstance(value, Tensor):
                self._compare_tensor(node, value, trace)
            elif isinstance(trace, int | torch.SymInt) and not self._sizes.agree(value, trace):
                raise _differs(node, str(value), str(trace))

    def _compare_tensor(self, node: fx.Node, value: Tensor, trace: Tensor) -> None:
        if value.dtype != trace.dtype and not _is_rounded(value, trace):
            raise _differs(node, f"the type {value.dtype}", str(trace.dtype))
        if value.dim() != trace.dim() or not all(map(self._sizes.agree, value.shape, trace.shape)):
            raise _differs(node, f"the shape {list(value.shape)}", _text(trace.shape))
        if self._strides and value.numel() and not self._strides_agree(value, trace):
            raise _differs(node, f"the strides {list(value.stride())}", _text(trace.stride()))


def _is_rounded(value: Tensor, trace: Tensor) -> bool:
    """Whether autocast rounded a real result: passes of half precision differ from the trace."""
    return torch.is_autocast_enabled(value.device.type) and value.is_floating_point() and trace.is_floating_point()


class _Sizes:
    """The value of each symbol in one run."""

    def __init__(self) -> None:
        # Any: sympy has no type annotations.
        self._numbers: dict[Any, int] = {}
        self._values: dict[Any, int] = {}

    def agree(self, size: int, trace: int | torch.SymInt) -> bool:
        """Whether the traced size has this value. A new symbol takes the value."""
        if not isinstance(trace, torch.SymInt):
            return size == trace
        expression = expression_of(trace)
        if expression.is_Symbol:
            # Most sizes are the batch alone. This saves Sympy's 0.1 ms to put a number into it.
            return self._numbers.setdefault(expression, size) == size
        if expression not in self._values:
            unknown = [symbol for symbol in expression.free_symbols if symbol not in self._numbers]
            if unknown:
                # A graph can begin behind a value whose size is a multiple of the batch.
                factor = expression / unknown[0]
                if not factor.is_Integer or size % int(factor):
                    return False
                self._numbers[unknown[0]] = size // int(factor)
            self._values[expression] = int(expression.subs(self._numbers))
        return size == self._values[expression]


def _may_be_unwritten(value: object) -> bool:
    """Whether the value holds NaN, or is of a type without NaN."""
    return isinstance(value, Tensor) and (not _has_nan(value) or bool(value.isnan().any()))


def _differing(first: Tensor, second: Tensor) -> Tensor:
    """Where NaN, or a whole number, is in one of the two results and not in the other."""
    return first.isnan() != second.isnan() if _has_nan(first) else first != second


def _has_nan(value: Tensor) -> bool:
    """Whether the type of the values has NaN: whole numbers have none."""
    return value.is_floating_point() or value.is_complex()


def example(shape: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers from -1 to 1; zeros for whole numbers, because every embedding has a row 0."""
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype, device=device)
    count = torch.Size(shape).numel()
    return torch.linspace(-1, 1, count, device=device).to(dtype).reshape(shape)


def _text(sizes: Sequence[int | torch.SymInt]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"


def _differs(node: fx.Node, given: str, traced: str) -> EngineError:
    return EngineError(
        "shape_not_as_traced",
        f"{node.name} ({node.target}) gives {given}, and torch {torch.__version__} traced {traced}; "
        "compute this value with another operator, and export the model again",
    )
