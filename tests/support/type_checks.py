"""Makes the checks of types and shapes in the engine's functions cheaper.

`--jaxtyping-packages` in pyproject.toml wraps each function with `jaxtyping.jaxtyped`, which binds
the arguments and checks them twice, so that sizes are compared across arguments. This took a third
of the time of the engine's tests. A function whose signature has no shape has no sizes to compare.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray


def leave_unshaped_to_the_type_checker() -> None:
    """Functions whose signature has no shape are wrapped by the type checker alone.

    Call this before the first import of a checked package.
    """
    jaxtyped = jaxtyping.jaxtyped

    def with_shapes(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def wrap(checked: Any) -> Any:
            if isinstance(checked, FunctionType) and not any(_has_shape(hint) for hint in checked.__annotations__.values()):
                return typechecker(checked)
            return jaxtyped(checked, typechecker=typechecker)

        return wrap

    jaxtyping.jaxtyped = with_shapes


def _has_shape(hint: object) -> bool:
    """A hint that is text may have a shape."""
    if isinstance(hint, str):
        return True
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(_has_shape(part) for part in get_args(hint))
