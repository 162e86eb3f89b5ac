"""Gives a module a `forward` that torch can export, until the export is over."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import nn

from unitrank_engine.models.exporting.arguments import Arguments

KEYWORDS = inspect.Parameter.VAR_KEYWORD


@contextmanager
def plain_forward(module: nn.Module, arguments: Arguments) -> Iterator[None]:
    """Inside, `forward` names each argument of `**kwargs`, and returns no cache of Transformers.

    torch 2.13 cannot relate sizes to arguments of `**kwargs`. It exports no type that it does not
    know, such as a cache.
    """
    forward = module.forward
    before = module.__dict__.get("forward")
    # Any: the arguments and results of the user's function.
    plain: Any = _without_caches(forward)
    plain.__signature__ = _named(inspect.signature(forward), arguments[1])
    module.__dict__["forward"] = plain
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before


def takes_any_keyword(module: nn.Module) -> bool:
    """Whether the module's `forward` has `**kwargs`."""
    return any(each.kind == KEYWORDS for each in inspect.signature(module.forward).parameters.values())


def _named(signature: inspect.Signature, given: Mapping[str, Any]) -> inspect.Signature:
    """The signature in which each given argument of `**kwargs` is a parameter."""
    named = [each for each in signature.parameters.values() if each.kind != KEYWORDS]
    others = [name for name in given if name not in signature.parameters]
    if len(named) == len(signature.parameters):
        return signature
    return signature.replace(parameters=named + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in others])


def _without_caches(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return without_caches(forward(*args, **kwargs))

    return plain


def without_caches(output: Any) -> Any:
    """The output without the caches of Transformers that its containers hold."""
    library = sys.modules.get("transformers.cache_utils")
    kinds = (library.Cache,) if library is not None else ()
    if isinstance(output, Mapping):
        kept = {name: value for name, value in output.items() if not isinstance(value, kinds)}
        return kept if len(kept) < len(output) else output
    if type(output) in (tuple, list):
        kept_values = [value for value in output if not isinstance(value, kinds)]
        return type(output)(kept_values) if len(kept_values) < len(output) else output
    return output
