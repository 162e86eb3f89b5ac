"""DeepLIFT's rule for products: the slope of a factor is the midpoint of the other factor."""

from typing import Any

from unitrank_engine.methods.deeplift.line import vjp
from unitrank_engine.methods.deeplift.operation import Operation
from unitrank_engine.methods.deeplift.secant import Back


def product(operation: Operation, at_start: Any) -> Back:
    """Return the backward pass of a product.

    It is exact, because the Jacobian is linear in t.
    """
    middle = [(start + end) / 2 for start, end in zip(*operation.line(), strict=True)]
    return lambda gradient: vjp(operation.apply, middle, [gradient])
