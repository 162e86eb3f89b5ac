"""Checks that a model computes each row separately.

Each unit of a result is a number of one example. If the rows of a batch depend on each other, an
example's scores depend on its batch mates, and they mean nothing.

Three signs show that rows depend on each other:

- An output of a row differs when the row runs alone, or with other rows.
- An output of a row has a gradient with respect to another row. This finds small effects too: the
  gradient is exactly zero where rows are separate.
- An output is finite in one of these runs and not finite in another.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx

from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.program import Program
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import SHAPE_ONLY
from unitrank_engine.program.subgraphs import sources_of
from unitrank_engine.torch_private import OpOverload, argument_names, tree_leaves

ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3}
"""The largest accepted difference between runs, relative to the largest output, by type.

Rounding is smaller; a model that rounds or compares can enlarge it. Half precision: `COARSE`.
"""
COARSE = 1e-2
SUSPECTED = 1e-2
"""Factor on the accepted difference if an operator of the graph works along the rows."""
LEAKED = 1e-5
"""The largest accepted gradient with respect to another row, relative to that of the own row.

A maximum over all rows that is subtracted for stability leaves a gradient of 1e-7.
"""

_NAMES = """
    sort argsort topk cumsum cumprod cummax cummin logcumsumexp flip roll softmax _softmax log_softmax _log_softmax
    _safe_softmax renorm
"""
ALONG = frozenset(f"aten::{name}" for name in _NAMES.split())
"""Operators whose result keeps its shape and mixes the values along an axis."""

Runs = Sequence[tuple[Tensor, Tensor]]
"""Pairs of a row's output in the whole batch and in another run."""


def check_rows(program: Program, inputs: tuple[Tensor, ...]) -> None:
    """Raises EngineError `rows_depend` when an output mixes the rows of a batch.

    `inputs`: at least two rows that differ.
    """
    rows = len(inputs[0])
    for name, value in program.outputs.items():
        whole = program.forward(program.lift(inputs), name)
        if whole.dim() == 0 or len(whole) != rows or not whole.is_floating_point():
            continue
        mixing = mixing_node(program, value.node)
        accepted = _accepted(whole.dtype) * (SUSPECTED if mixing is not None else 1)
        if _differs(list(_runs(program, inputs, name, whole)), accepted) or _has_leak(program, inputs, name):
            raise EngineError(
                "rows_depend",
                f"output '{name}' of an example depends on the other examples of its batch{_where(mixing)}; "
                "each row must be computed separately, without means or norms over the batch (axis 0)",
            )


def _accepted(dtype: torch.dtype) -> float:
    return ROUNDING.get(dtype, COARSE)


def _runs(program: Program, inputs: tuple[Tensor, ...], name: str, whole: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each row of the whole batch beside the row in another run.

    In the other runs, the row is alone, behind another row, and in reverse order.
    """
    rows = len(whole)
    orders = [[row] for row in range(rows)] + [[(row + 1) % rows, row] for row in range(rows)] + [list(range(rows))[::-1]]
    for order in orders:
        output = program.forward(program.lift(tuple(tensor[order] for tensor in inputs)), name)
        yield whole[order[-1]], output[-1]


def _differs(runs: Runs, accepted: float) -> bool:
    finite = [each[torch.isfinite(each)].abs() for pair in runs for each in pair]
    size = max((float(each.max()) for each in finite if each.numel()), default=0.0)
    for whole, other in runs:
        both = torch.isfinite(whole) & torch.isfinite(other)
        if bool((torch.isfinite(whole) != torch.isfinite(other)).any()):
            return True
        if bool((torch.where(both, whole - other, 0).abs() > accepted * size).any()):
            return True
    return False


def _has_leak(program: Program, inputs: tuple[Tensor, ...], name: str) -> bool:
    """As `_leaks`; False for a model with an operator that has no derivative."""
    try:
        return _leaks(program, inputs, name)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False


def _leaks(program: Program, inputs: tuple[Tensor, ...], name: str) -> bool:
    """Whether a row of the output has a gradient with respect to another row of an input."""
    rows = len(inputs[0])
    values = program.lift(inputs)
    leaves = [value.detach().requires_grad_() if value.is_floating_point() else value for value in values]
    real = [leaf for leaf in leaves if leaf.requires_grad and len(leaf) == rows]
    results = [value for value in tree_leaves(program.module(*leaves)) if isinstance(value, Tensor)]
    output = results[list(program.outputs).index(name)]
    if not real or not output.requires_grad:
        return False
    # With equal weights, the gradient of a softmax's outputs would be zero.
    weights = torch.linspace(1, 2, output[0].numel(), device=output.device).to(output.dtype).reshape(output[0].shape)
    leaked = kept = 0.0
    for row in range(rows):
        gradients = torch.autograd.grad((output[row] * weights).sum(), real, retain_graph=True, materialize_grads=True)
        for gradient in gradients:
            others = torch.cat([gradient[:row], gradient[row + 1 :]])
            leaked, kept = max(leaked, _largest(others)), max(kept, _largest(gradient[row]))
    accepted = LEAKED if output.dtype in ROUNDING else COARSE
    return leaked > accepted * kept


def _largest(gradient: Tensor) -> float:
    """The largest absolute value; a gradient that is not finite shows nothing and counts as 0."""
    return float(torch.where(torch.isfinite(gradient), gradient, 0).abs().max()) if gradient.numel() else 0.0


def mixing_node(program: Program, output: fx.Node) -> fx.Node | None:
    """The first node before `output` that can mix rows; None without such a node.

    It works along an axis that holds rows, or its result has fewer or more such axes than its
    arguments. A maximum over all rows that is only subtracted for stability is such a node too, so
    the node alone proves nothing.
    """
    needed, valued = sources_of(output), set[fx.Node]()
    nodes: list[fx.Node] = list(program.module.graph.nodes)
    for node in nodes:
        sources = [source for source in node.all_input_nodes if source in valued]
        if node.op == "placeholder" or (sources and not SHAPE_ONLY.match(operator_name(node))):
            valued.add(node)
        if node in needed and node.op == "call_function" and node in valued and _mixes(node, sources):
            return node
    return None


def _mixes(node: fx.Node, sources: list[fx.Node]) -> bool:
    held = [axes for source in sources if (axes := _row_axes(source))]
    if not held or not isinstance(node.meta.get("val"), Tensor):
        return bool(held) and operator_name(node) in ALONG and _along_rows(node)
    if operator_name(node) in ALONG and _along_rows(node):
        return True
    return len(_row_axes(node)) not in {len(axes) for axes in held}


def _along_rows(node: fx.Node) -> bool:
    assert isinstance(node.target, OpOverload)
    given = dict(zip(argument_names(node.target), node.args, strict=False)) | node.kwargs
    source = given["self"]
    assert isinstance(source, fx.Node)
    rank = source.meta["val"].dim()
    chosen = given.get("dim", given.get("dims", -1))
    axes = chosen if isinstance(chosen, list | tuple) else [chosen]
    return any(isinstance(axis, int) and axis % max(rank, 1) in _row_axes(source) for axis in axes)


def _row_axes(node: fx.Node) -> set[int]:
    """The axes whose size depends on the number of rows."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return set()
    return {axis for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)}


def _where(node: fx.Node | None) -> str:
    """The operator and its layer, for the message."""
    if node is None:
        return ""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return f", probably by {node.target}" + (f" in layer '{paths[-1]}'" if paths else "")
