"""Makes the changes to a module that its export needs, and takes them back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointFunction

from unitrank_engine.models.exporting.preparation.wrappers import unwrapped

EXPERTS = "_experts_implementation_internal"
"""How a mixture of experts is computed. All ways give the same numbers.

`grouped_mm` calls an operator of Transformers and `eager` loops over values; `batched_mm` does
neither.
"""


@contextmanager
def prepared(module: nn.Module) -> Iterator[nn.Module]:
    """Yields the network without wrappers, in evaluation mode.

    Inside, the network returns no cache of Transformers, its experts are computed by operators of
    torch, and no part of it is compiled.
    """
    with unwrapped(module) as root, ExitStack() as changes:
        for part in root.modules():
            changes.enter_context(_setting(part, "training", False))
            if getattr(part, "_compiled_call_impl", None) is not None:
                # Module.compile sets this attribute; without it, the call runs forward.
                changes.enter_context(_setting(part, "_compiled_call_impl", None))
        for config in _configs(root):
            if getattr(config, "use_cache", None):
                changes.enter_context(_setting(config, "use_cache", False))
            if getattr(config, EXPERTS, None) is not None:
                changes.enter_context(_setting(config, EXPERTS, "batched_mm"))
        # Functions that torch.compile returned run as they were written.
        changes.enter_context(torch.compiler.set_stance("force_eager"))
        # A checkpoint has a backward pass of its own, which runs forward again.
        changes.enter_context(_setting(CheckpointFunction, "apply", staticmethod(_run)))
        yield root


def _run(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
    """The result of `checkpoint(function, *args, use_reentrant=True)`."""
    return function(*args)


def _configs(module: nn.Module) -> list[Any]:
    """The configurations of Transformers in the module's parts, each once.

    Any: a configuration of Transformers, which is optional.
    """
    configs: dict[int, Any] = {}
    waiting = [getattr(part, "config", None) for part in module.modules()]
    while waiting:
        config = waiting.pop()
        if id(config) in configs or not hasattr(config, "to_diff_dict"):
            continue
        configs[id(config)] = config
        waiting += vars(config).values()
    return list(configs.values())


@contextmanager
def _setting(owner: Any, name: str, value: object) -> Iterator[None]:
    """Gives an attribute of the owner another value; at the end, it has the old value again."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
