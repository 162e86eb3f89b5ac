"""Checks that weights have the names and shapes of a network."""

from collections.abc import Sequence

from unitrank_engine.errors import EngineError

LISTED = 10
"""Names of weights that a message lists, at most."""


def check(network: str, missing: Sequence[str], unknown: Sequence[str], reshaped: Sequence[str]) -> None:
    """Raises EngineError `weights_refused` when a list has entries.

    `network`: the name of the network, for the message.
    `missing`: names of weights that the file lacks.
    `unknown`: names of weights that the network does not have.
    `reshaped`: descriptions of weights with another shape, as `reshaping` gives them.

    >>> check("perceptron", [], ["old"], [reshaping("bias", [4], [3])])
    Traceback (most recent call last):
        ...
    unitrank_engine.errors.EngineError: the weights do not match perceptron: 1 unknown: old; 1 of
    another shape: bias [4] instead of [3]
    """
    faults = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    described = "; ".join(f"{len(keys)} {fault}: {_listed(keys)}" for fault, keys in faults.items() if keys)
    if described:
        raise EngineError("weights_refused", f"the weights do not match {network}: {described}")


def reshaping(key: str, given: Sequence[int], expected: Sequence[int]) -> str:
    """The description of a weight that has another shape than expected."""
    return f"{key} {list(given)} instead of {list(expected)}"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:LISTED]) + (", …" if len(keys) > LISTED else "")
