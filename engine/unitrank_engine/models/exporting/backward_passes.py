"""Finds the places of a module that change gradients, and regions under inference_mode."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unitrank_engine.models.exporting.lines import is_user_code
from unitrank_engine.models.exporting.refusals import refused

MOST = 5
"""Places that one message names."""


class Watch(TorchFunctionMode):
    """A context manager that records lines while a module runs.

    `hooks`: the lines that register a hook on a tensor.
    `in_inference`: whether a part ran under inference_mode; `inference_line`: its first line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[traceback.FrameSummary] = []
        self.inference_line: traceback.FrameSummary | None = None
        self.in_inference = False

    # Any: torch calls this method for each of its functions, with the arguments of that function.
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled() and not self.in_inference:
            self.in_inference, self.inference_line = True, _line()
        if func is Tensor.register_hook:
            self.hooks += filter(None, [_line()])
        return func(*args, **(kwargs or {}))


def refuse_inference_mode(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises EngineError `not_exportable` if a part of the module runs under inference_mode."""
    with torch.enable_grad(), suppress(Exception), Watch() as watch:
        # An error of the module is reported when its outputs are computed.
        module(*args, **kwargs)
    if watch.in_inference:
        raise refused(
            "it computes under torch.inference_mode(), which gradients cannot pass; write torch.no_grad() or detach() instead",
            watch.inference_line,
        )


def backward_passes(module: nn.Module, outputs: Sequence[Tensor], watch: Watch) -> list[str]:
    """Descriptions of autograd functions and hooks, each with its line."""
    descriptions = [f"the backward of class {function.__name__}{_place(function)}" for function in _functions(outputs)]
    for name, part in module.named_modules():
        for hook in (*part._backward_hooks.values(), *part._backward_pre_hooks.values()):
            descriptions.append(f"a backward hook on module '{name}' ({type(part).__name__}){_place(hook)}")
    descriptions += [f"a hook on a tensor at {line.filename}:{line.lineno}: {line.line}" for line in watch.hooks]
    return list(dict.fromkeys(descriptions))[:MOST]


@contextmanager
def without_backward_hooks(module: nn.Module) -> Iterator[None]:
    """Sets backward hooks aside. torch.export would record an operation for each of them."""
    parts = [(part, part._backward_hooks, part._backward_pre_hooks) for part in module.modules()]
    try:
        for part, hooks, _ in parts:
            part._backward_hooks, part._backward_pre_hooks = type(hooks)(), type(hooks)()
        yield
    finally:
        for part, hooks, pre_hooks in parts:
            part._backward_hooks, part._backward_pre_hooks = hooks, pre_hooks


def _functions(outputs: Sequence[Tensor]) -> Iterator[type]:
    """The user's autograd functions that the outputs were computed with."""
    waiting: list[Any] = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        function = getattr(type(node), "_forward_cls", None)
        if function is not None and not function.__module__.startswith("torch."):
            yield function
        following = [source for source, _ in node.next_functions if source is not None and source not in seen]
        seen.update(following)
        waiting += following


def _place(code: type | Callable[..., Any]) -> str:
    try:
        function = inspect.unwrap(getattr(code, "backward", code))
        return f" at {inspect.getsourcefile(function)}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        return ""


def _line() -> traceback.FrameSummary | None:
    return next((frame for frame in reversed(traceback.extract_stack()) if is_user_code(frame)), None)
