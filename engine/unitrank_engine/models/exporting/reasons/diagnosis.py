"""Finds out why torch could not capture a module, by running the module itself."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.arguments import Arguments
from unitrank_engine.models.exporting.lines import is_user_code, line_of
from unitrank_engine.models.exporting.refusals import Fault, by_examples, refusal
from unitrank_engine.torch_private import tree_leaves, tree_map

# The getter of Tensor.data. Any: mypy has no type for descriptors of C code.
DATA: Any = torch.Tensor.data
LEAVING: dict[object, Fault] = {
    DATA.__get__: Fault("`.data` hides a value from the graph here", "write .detach() instead of .data"),
    torch.autograd.grad: Fault(
        "gradients inside forward cannot be exported",
        "let forward return the value itself; a job computes gradients of its own",
    ),
    torch.Tensor.backward: Fault(
        "gradients inside forward cannot be exported",
        "let forward return the value itself; a job computes gradients of its own",
    ),
}
"""Functions after which a value is not in the graph."""
PACKED = Fault(
    "a packed sequence cannot be exported: its size depends on values",
    "give the layer the padded batch, and read the last step of each row: output.gather(1, index) with index = lengths - 1",
)
BATCH_FIRST = (nn.RNNBase, nn.MultiheadAttention)
"""Classes of torch whose option `batch_first` is False unless the user sets it."""


def diagnosed(error: BaseException, module: nn.Module, arguments: Arguments) -> EngineError | None:
    """The error with the true reason, or None where torch's own reason is right.

    `error`: the error that torch raised for the export.
    """
    try:
        module(*arguments[0], **arguments[1])
    except Exception as fault:
        if _runs(module, _with_batch_axis(arguments)):
            return refusal(_forgotten_axis(arguments), line_of(fault), quoted=str(fault))
        return by_examples(fault, line_of(fault))
    if _packs(module, arguments):
        return refusal(PACKED, line_of(error))
    if "Constraints violated" in str(error):
        return _fixed_axis(module, arguments)
    return _leaving(module, arguments) if "fake tensor" in str(error) else None


def sequence_first(module: nn.Module) -> str:
    """The advice for a layer that reads the sequence along axis 0; empty without such a layer."""
    for path, part in module.named_modules():
        if isinstance(part, BATCH_FIRST) and not part.batch_first:
            name = f"layer '{path}' ({type(part).__name__})" if path else f"the {type(part).__name__}"
            return f"{name} takes the sequence on axis 0: create it with batch_first=True, and put the batch on axis 0"
    return ""


def _packs(module: nn.Module, arguments: Arguments) -> bool:
    """Whether a recurrent layer gets a packed sequence."""
    packed = []
    layers = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: packed.append(isinstance(inputs[0], PackedSequence))) for layer in layers
    ]
    try:
        _runs(module, arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return any(packed)


def _fixed_axis(module: nn.Module, arguments: Arguments) -> EngineError | None:
    """The error for examples whose first axis cannot have another size, or is not the batch."""
    try:
        module(*(longer := _mapped(arguments, lambda leaf: torch.cat([leaf, leaf[-1:]])))[0], **longer[1])
    except Exception as fault:
        if _runs(module, _with_batch_axis(arguments)):
            return refusal(_forgotten_axis(arguments), line_of(fault), quoted=str(fault))
        return None
    recurrent = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    if recurrent and all(leaf.dim() < 3 for leaf in _tensors(arguments)) and _runs(module, _with_batch_axis(arguments)):
        return refusal(_forgotten_axis(arguments))
    advice = sequence_first(module)
    return refusal(Fault("the first axis of the example inputs is not the batch", advice)) if advice else None


def _forgotten_axis(arguments: Arguments) -> Fault:
    shape = list(_tensors(arguments)[0].shape)
    return Fault(
        f"the first axis of an example is the batch, and the example inputs have the shape {shape} without a batch axis",
        f"pass examples with one row or more, of shape {[1, *shape]}: write x.unsqueeze(0)",
    )


def _with_batch_axis(arguments: Arguments) -> Arguments:
    return _mapped(arguments, lambda leaf: torch.stack([leaf, leaf]))


def _mapped(arguments: Arguments, change: Callable[[Tensor], Tensor]) -> Arguments:
    args, kwargs = tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) and leaf.dim() else leaf, arguments)
    return args, kwargs


def _tensors(arguments: Arguments) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor) and leaf.dim()]


def _runs(module: nn.Module, arguments: Arguments) -> bool:
    with suppress(Exception):
        module(*arguments[0], **arguments[1])
        return True
    return False


class _Watch(TorchFunctionMode):
    """Keeps the first call of a function of `LEAVING`, with the line of the user's code."""

    fault: Fault | None = None
    line: traceback.FrameSummary | None = None

    # Any: the signature of the base class.
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.fault is None and func in LEAVING:
            frames = [frame for frame in traceback.extract_stack() if is_user_code(frame)]
            self.fault, self.line = LEAVING[func], frames[-1] if frames else None
        return func(*args, **(kwargs or {}))


def _leaving(module: nn.Module, arguments: Arguments) -> EngineError | None:
    """The error for a call after which a value is not in the graph."""
    with suppress(Exception), _Watch() as watch:
        module(*arguments[0], **arguments[1])
    return refusal(watch.fault, watch.line) if watch.fault else None
