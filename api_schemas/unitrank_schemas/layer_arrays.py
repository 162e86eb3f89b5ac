"""The arrays of one layer in a layered result, with the names of a job of this layer."""

from collections.abc import Iterable, Sequence

WHOLE_JOB = ("rows", "baseline_rows", "tests/rows")
"""The arrays of the whole job. A layer may have one of these names, too."""


def names_of_layer(layer: str, layers: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """Return name for a job of this layer → name in the result, with the arrays of the whole job.

    `layers`: all parts of the result. `names`: those of all arrays in the result.

    >>> names_of_layer("a", ["a", "a/b"], ["a/importance/x", "a/b/importance/x", "rows/0"])
    {'importance/x': 'a/importance/x', 'rows/0': 'rows/0'}
    """
    chosen: dict[str, str] = {}
    for name in names:
        # A layer's name may be the beginning of another one.
        owner = max((each for each in layers if name.startswith(f"{each}/")), key=len, default=None)
        if owner == layer:
            chosen[name.removeprefix(f"{layer}/")] = name
        if owner is None or _is_of_whole_job(name):
            chosen[name] = name
    return chosen


def _is_of_whole_job(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in WHOLE_JOB)
