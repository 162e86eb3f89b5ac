"""Whether weights are those of a network: what is missing, what it does not know, what has another shape."""

from collections.abc import Sequence

from unitrank_engine.errors import EngineError

SHOWN = 10


def check(whose: str, missing: Sequence[str], unknown: Sequence[str], reshaped: Sequence[str]) -> None:
    """Raises EngineError `weights_refused` with a list of each, where there is any."""
    faults = {"missing": missing, "unknown": unknown, "of another shape": reshaped}
    told = [f"{len(keys)} {fault}: {_listed(keys)}" for fault, keys in faults.items() if keys]
    if told:
        raise EngineError("weights_refused", f"the weights are not those of {whose}: {'; '.join(told)}")


def reshaping(key: str, given: Sequence[int], wanted: Sequence[int]) -> str:
    return f"{key} {list(given)} instead of {list(wanted)}"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
