"""Scores that you bring: arrays become entries of a job's `methods`, or datasets of scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unitrank.client.endpoints import Calls
from unitrank.client.http.operations import Flow, work
from unitrank.client.requests import request_fields, to_json
from unitrank.client.uploads import put_dataset
from unitrank.dataset_files import array_of
from unitrank.errors import NotPossible
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import MOST_IMPORTANCE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Any: an entry of `methods`, in JSON.
Entry = dict[str, Any]


@dataclass(frozen=True, eq=False)
class GivenRanking:
    """Scores for the `methods` of a job; `given` makes them.

    Attributes:
        name: id of the ranking.
        clusters: the cluster of each row of `values`; None: the whole array is one importance for
            all clusters, or has a row for each example.
        values: the scores, in float32 or float64.
        per_example: whether the rows are examples; None: they are if each example has one row.
        options: further options of the entry, such as `made_on`.
    """

    name: str
    clusters: list[str] | None
    values: NDArray[Any]
    per_example: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, **source: Any) -> Entry:
        """The entry of `methods` with this source of the scores."""
        return {"name": "given", "id": self.name, **self.options, **source}

    def importance(self) -> Any:
        """The scores as the request has them: numbers for each cluster, or for all clusters."""
        if self.clusters is None:
            return self.values.ravel().tolist()
        return {name: row.ravel().tolist() for name, row in zip(self.clusters, self.values, strict=True)}

    def table(self) -> dict[str, Any]:
        """The fields of a dataset of scores: a row for each cluster, or one row for all."""
        if self.clusters is None:
            return {"importance": self.values.reshape(1, -1)}
        return {"importance": self.values.reshape(len(self.values), -1), "cluster": self.clusters}

    def rows_are_examples(self, examples: int) -> bool:
        """Whether the array has a row for each of the examples."""
        if self.clusters is not None or self.per_example is False:
            return False
        return bool(self.per_example) or (self.values.ndim > 1 and len(self.values) == examples)


def given(
    scores: Any,
    name: str = "given",
    *,
    clusters: Iterable[Any] | None = None,
    made_on: str | None = None,
    statistic: str | None = None,
    per_example: bool | None = None,
) -> GivenRanking:
    """Scores of another tool or of your own code, as an entry of a job's `methods`.

    Args:
        scores: a mapping from a cluster's name to its importance; an array with one importance for
            all clusters; an array with a row for each of `clusters`; or, for `unitrank.rank`, an
            array with a row for each example. A row has the layer's shape, or one number for each
            unit.
        name: id of the ranking.
        clusters: the cluster of each row.
        made_on: the rows of the dataset that made the scores, which are not used for testing: the
            name of a boolean field, or `none` if no row of this dataset made them.
        statistic: how scores of examples become the importance: `mean`, `mean_abs` or `rms`.
        per_example: whether rows are examples; None: they are if `unitrank.rank` has one example
            for each row.

    Raises NotPossible for scores that are not finite numbers of equal shape.

    >>> import numpy as np
    >>> import unitrank
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> mine = unitrank.given([0.0, 0.5, 0.1, 0.0, 0.9, 0.2], name="mine", made_on="none")
    >>> result = unitrank.rank(network, "1", x, methods=["gradient", mine])
    >>> int(result.importances("mine")["all"].argmax())
    4
    """
    options = {"made_on": made_on, "statistic": statistic}
    names = None if clusters is None else [_name(cluster) for cluster in clusters]
    if isinstance(scores, Mapping):
        names, values = [_name(cluster) for cluster in scores], _stacked(name, scores)
    else:
        values = _numbers(array_of(scores, name), f"the scores {name!r}")
    if names is not None and (values.ndim == 0 or len(values) != len(names)):
        detail = f"the scores {name!r} have the shape {list(values.shape)}, but {len(names)} clusters; give a row for each cluster"
        raise NotPossible(detail, code="invalid_request")
    set_options = {option: value for option, value in options.items() if value is not None}
    return GivenRanking(name, names, values, per_example, set_options)


def job_body(
    calls: Calls, request: JobRequest | Mapping[str, Any] | None, fields: Mapping[str, Any], scores: Mapping[str, Any] | None
) -> Flow[bytes]:
    """The JSON of a job's request. Scores that are too large for it are uploaded as datasets.

    `scores`: the argument `given` of `submit`.
    """
    body = request_fields(request, fields)
    entries = with_given(body.get("methods", []), scores)
    room = MOST_IMPORTANCE_BYTES
    for index, entry in enumerate(entries):
        if isinstance(entry, GivenRanking):
            if entry.per_example:
                raise NotPossible(_FIELD_NEEDED.format(name=entry.name), code="invalid_request")
            in_request = fits_into_request(entry, room)
            room -= len(in_request or b"")
            entries[index] = entry.entry(importance=entry.importance()) if in_request else (yield from _uploaded(calls, entry))
    return to_json({**body, "methods": entries} if entries else body)


_FIELD_NEEDED = (
    "the scores {name!r} have a row for each example, so they must be a field of the job's dataset: upload it with "
    'client.datasets.put(…, {name}=scores), and use the entry {{"name": "given", "field": "{name}"}}'
)


def with_given(methods: Sequence[Any], scores: Mapping[str, Any] | None) -> list[Any]:
    """The methods of a request, and after them the given scores by their names."""
    more = (values if isinstance(values, GivenRanking) else given(values, name) for name, values in (scores or {}).items())
    return [*methods, *more]


def fits_into_request(scores: GivenRanking, room: int) -> bytes | None:
    """The importance as JSON if it has at most `room` bytes; else None."""
    # A number takes at least two bytes, so a large array need not be written to be measured.
    encoded = to_json(scores.importance()) if 2 * scores.values.size <= room else b""
    return encoded if 0 < len(encoded) <= room else None


def entry_of(calls: Calls, scores: GivenRanking) -> Flow[Entry]:
    """The entry of `methods` with these scores; large ones are uploaded."""
    if fits_into_request(scores, MOST_IMPORTANCE_BYTES):
        return scores.entry(importance=scores.importance())
    return (yield from _uploaded(calls, scores))


def _uploaded(calls: Calls, scores: GivenRanking) -> Flow[Entry]:
    """Uploads the scores as a dataset, whose name follows from its content."""
    digest = yield from work(lambda: hashlib.sha256(repr(scores.clusters).encode() + scores.values.tobytes()).hexdigest())
    record = yield from put_dataset(
        calls, f"given-{scores.name}-{digest[:16]}", None, uri=None, columns=None, fields=scores.table(), wait=True, quiet=True
    )
    return scores.entry(scores=f"{record.name}@{record.digest}")


def _stacked(name: str, scores: Mapping[Any, Any]) -> NDArray[Any]:
    import numpy as np

    arrays = {
        key: _numbers(array_of(values, name), f"the scores {name!r} of cluster {_name(key)!r}") for key, values in scores.items()
    }
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1:
        listed = " and ".join(str(list(shape)) for shape in sorted(shapes)) or "no cluster"
        raise NotPossible(
            f"the scores {name!r} have {listed}; give one array of the same shape for each cluster", code="invalid_request"
        )
    return np.stack(list(arrays.values()))


def _numbers(array: NDArray[Any], subject: str) -> NDArray[Any]:
    """The array in float32 or float64. Raises NotPossible unless all values are finite numbers."""
    import numpy as np

    if array.dtype.kind not in "iuf":
        raise NotPossible(f"{subject} are {array.dtype}; give real numbers or integers", code="invalid_request")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise NotPossible(f"{subject} are NaN or infinite at index {bad[0].tolist()}; give finite numbers", code="non_finite")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _name(cluster: Any) -> str:
    """The name of a cluster: that of a label's value, as the service names it."""
    value = cluster.item() if hasattr(cluster, "item") else cluster
    return str(int(value)) if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class LocalScores:
    """The given scores of a job in this process: its entries, and the data that these name.

    Attributes:
        methods: the entries of the request.
        fields: further fields of the job's data, with a row for each example.
        tables: name of a dataset of scores → its fields.
    """

    methods: list[Any]
    fields: dict[str, Any]
    tables: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, methods: Sequence[Any], examples: int) -> LocalScores:
        """The entries and data for these methods. `examples`: number of examples of the job."""
        local = cls([], {}, {})
        for entry in methods:
            local.methods.append(local._placed(entry, examples) if isinstance(entry, GivenRanking) else entry)
        return local

    def _placed(self, scores: GivenRanking, examples: int) -> Entry:
        if scores.rows_are_examples(examples):
            self.fields[f"given.{scores.name}"] = scores.values
            return scores.entry(field=f"given.{scores.name}")
        if fits_into_request(scores, MOST_IMPORTANCE_BYTES):
            return scores.entry(importance=scores.importance())
        self.tables[f"given-{scores.name}"] = scores.table()
        return scores.entry(scores=f"given-{scores.name}")
