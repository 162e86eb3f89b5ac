"""Given scores in files, as `--given NAME=FILE` names them."""

from pathlib import Path
from typing import Any

from unitrank.client.given import GivenRanking, given
from unitrank.errors import NotPossible

WHOLE = ("importance", "scores", "arr_0")
"""Names of a file's only array that do not name a cluster; numpy.savez calls an array arr_0."""


def read_scores(assignments: list[str], made_on: str | None) -> dict[str, GivenRanking]:
    """The scores of each `NAME=FILE`, by name. Raises NotPossible.

    `made_on`: see `unitrank.given`.
    """
    scores: dict[str, GivenRanking] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not equals or not name or not file:
            raise NotPossible(
                f"--given {assignment!r} is invalid: write NAME=FILE, such as mine=scores.npz", code="invalid_request"
            )
        if name in scores:
            raise NotPossible(f"--given {name}=… is there twice; give each file of scores another name", code="duplicate_id")
        scores[name] = _given(name, Path(file), made_on)
    return scores


def _given(name: str, file: Path, made_on: str | None) -> GivenRanking:
    """The scores in a file.

    - An .npy, or the only array of a file: one importance for all clusters.
    - `importance` and `cluster`: a row for each cluster.
    - Otherwise an array for each cluster, by the cluster's name.
    """
    arrays = _arrays(file)
    if "cluster" in arrays and "importance" in arrays:
        return given(arrays["importance"], name, clusters=arrays["cluster"], made_on=made_on)
    if len(arrays) == 1 and next(iter(arrays)) in WHOLE:
        return given(next(iter(arrays.values())), name, made_on=made_on)
    return given(arrays, name, made_on=made_on)


def _arrays(file: Path) -> dict[str, Any]:
    import numpy as np

    from unitrank_tables import open_table
    from unitrank_tables.errors import BadTable

    if not file.is_file():
        raise NotPossible(f"the file {file} does not exist; give an .npy, .npz or safetensors file with scores", code="no_file")
    try:
        if file.suffix == ".npy":
            return {WHOLE[0]: np.load(file, allow_pickle=False)}
        with open_table(file) as table:
            return {field: table.read(field, slice(None)) for field in table.fields}
    except (BadTable, ValueError) as error:
        raise NotPossible(f"the file {file} cannot be read: {getattr(error, 'detail', error)}", code="invalid_request") from error
