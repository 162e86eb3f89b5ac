"""Reads scores from files: for `--given NAME=FILE`, and for `check_scores`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from unitrank.client.given import GivenRanking, given
from unitrank.errors import NotPossible

WHOLE = ("importance", "scores", "arr_0")
"""Names of an array that do not name a cluster; numpy.savez calls an array arr_0."""


def given_files(assignments: list[str], made_on: str | None) -> dict[str, GivenRanking]:
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
        scores[name] = given(read_scores(Path(file), WHOLE), name, made_on=made_on)
    return scores


def read_scores(file: Path, whole: Collection[str] | None = None) -> Any:
    """The scores in a file: one array for all clusters, or a mapping from a cluster to its array.

    - An .npy, or the only array of a file: one array for all clusters.
    - `importance` and `cluster`: a row for each cluster.
    - Otherwise an array for each cluster, by the cluster's name.

    `whole`: names of an only array that is for all clusters; None: any name. Raises NotPossible.
    """
    arrays = _arrays(file)
    name, array = next(iter(arrays.items()), ("", None))
    if len(arrays) == 1 and (whole is None or name in whole):
        return array
    if "cluster" in arrays and "importance" in arrays:
        return dict(zip(arrays["cluster"].tolist(), arrays["importance"], strict=True))
    return arrays


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
        reason = getattr(error, "detail", error)
        raise NotPossible(
            f"the file {file} cannot be read: {reason}; give an .npy, .npz or safetensors file with scores", code="invalid_request"
        ) from error
