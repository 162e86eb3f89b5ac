"""Makes the checks of types and shapes in the engine's functions cheaper.

`--jaxtyping-packages` in pyproject.toml wraps each function with `jaxtyping.jaxtyped`, which binds
the arguments and checks them twice, so that sizes are compared across arguments. This took a third
of the time of the engine's tests. A function whose signature has no shape has no sizes to compare.
In each test, only the first calls of any other function are compared.
"""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray

MOST_CHECKED = 10
"""Calls of a function in one test whose shapes are checked. Later calls are mostly of a loop."""
_calls = Counter[FunctionType]()


def begin_test() -> None:
    """Check the shapes of the next calls of each function again."""
    _calls.clear()


def check_shapes_less_often() -> None:
    """Functions without a shape in their signature are wrapped by the type checker alone.

    Call this before the first import of a checked package.
    """
    jaxtyped = jaxtyping.jaxtyped

    def with_shapes(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def wrap(checked: Any) -> Any:
            if not isinstance(checked, FunctionType):
                return jaxtyped(checked, typechecker=typechecker)
            if any(_has_shape(hint) for hint in checked.__annotations__.values()):
                return _checked_at_first(checked, lambda: jaxtyped(checked, typechecker=typechecker))
            return typechecker(checked)

        return wrap

    jaxtyping.jaxtyped = with_shapes


def _checked_at_first(plain: FunctionType, make_checking: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A function whose first `MOST_CHECKED` calls in a test are checked.

    `make_checking` takes milliseconds, and the tests of one process call only some functions.
    """
    checking: Callable[..., Any] | None = None

    @wraps(plain)
    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal checking
        if _calls[plain] >= MOST_CHECKED:
            return plain(*arguments, **options)
        _calls[plain] += 1
        checking = checking or make_checking()
        return checking(*arguments, **options)

    return call


def _has_shape(hint: object) -> bool:
    """A hint that is text may have a shape."""
    if isinstance(hint, str):
        return True
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(_has_shape(part) for part in get_args(hint))
