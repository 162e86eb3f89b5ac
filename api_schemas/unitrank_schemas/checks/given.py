"""Checks of given scores: do they fit the place, the clusters and the dataset?"""

import json
from collections.abc import Iterable, Iterator, Sequence

from unitrank_schemas.facts.facts import MOST_CLUSTERS, Facts, Flaw, TableFacts, kind_of, layer_of, place_of, unit_count
from unitrank_schemas.facts.fields import field_exists, names_of
from unitrank_schemas.facts.wording import nearest, shape_text
from unitrank_schemas.jobs import JobRequest, units_in_words
from unitrank_schemas.json_pointer import escaped
from unitrank_schemas.methods import MOST_IMPORTANCE_BYTES, NO_ROW, Given

SOURCES = ("field", "importance", "scores")
BYTES_OF_NUMBER = 26
"""Longest number as JSON, with its comma, in bytes. Shorter lists need no exact measurement."""


def given_once(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """An entry has exactly one of its three sources; `statistic` needs scores of each example."""
    for at, entry in _entries(request):
        sources = [name for name in SOURCES if getattr(entry, name) is not None]
        if len(sources) != 1:
            got = " and ".join(f"`{name}`" for name in sources) or "none of them"
            yield Flaw(at, "given_source", f"give exactly one of `field`, `importance` and `scores`, got {got}")
        elif entry.statistic != "mean" and not entry.scores_examples:
            detail = (
                f"statistic {entry.statistic!r} needs the scores of each example, and `{sources[0]}` brings the importance itself; "
                "leave `statistic` out, or give `field`"
            )
            yield Flaw(f"{at}/statistic", "method_not_applicable", detail)


def importance_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    for at, entry in _entries(request):
        if entry.importance is None:
            continue
        lists = entry.importance if isinstance(entry.importance, dict) else {None: entry.importance}
        if (size := _json_bytes(entry, lists.values())) > MOST_IMPORTANCE_BYTES:
            detail = (
                f"`importance` has {size} bytes as JSON; at most {MOST_IMPORTANCE_BYTES} are allowed: upload the scores as a "
                "dataset, and name it in `scores`"
            )
            yield Flaw(f"{at}/importance", "importance_too_large", detail)
            continue
        if isinstance(entry.importance, dict):
            yield from _clusters_fit(f"{at}/importance", list(entry.importance), request, facts)
        for name, values in lists.items():
            here = f"{at}/importance" if name is None else f"{at}/importance/{escaped(name)}"
            yield from _units_fit(here, len(values), request, facts)


def field_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    for at, entry in _entries(request):
        if entry.field is None:
            continue
        yield from field_exists(f"{at}/field", entry.field, facts)
        field = facts.fields.get(entry.field) if facts.fields else None
        if field is not None:
            subject = f"field {entry.field!r}"
            yield from _shape_fits(f"{at}/field", subject, "N", field.shape, field.dtype, request, facts)


def scores_fit(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """The dataset of the scores has one row for each cluster: `importance` and `cluster`."""
    for at, entry in _entries(request):
        table = facts.tables.get(entry.scores or "")
        if table is None:
            continue
        # A single row without a name counts for all clusters.
        needed = ("importance",) if table.examples == 1 else ("importance", "cluster")
        missing = [name for name in needed if name not in table.fields]
        if missing:
            detail = (
                f"dataset {entry.scores!r} has no field {missing[0]!r}{nearest(missing[0], table.fields)}; a dataset of scores has "
                "a row for each cluster, with the fields 'importance' and 'cluster'"
            )
            yield Flaw(f"{at}/scores", "field_not_found", detail)
            continue
        importance = table.fields["importance"]
        subject = f"field 'importance' of dataset {entry.scores!r}"
        yield from _shape_fits(f"{at}/scores", subject, "clusters", importance.shape, importance.dtype, request, facts)
        if "cluster" in table.fields:
            yield from _rows_are_clusters(f"{at}/scores", f"field 'cluster' of dataset {entry.scores!r}", table, request, facts)


def made_on_marks_rows(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    for at, entry in _entries(request):
        name = entry.made_on
        if name is None or name == NO_ROW:
            continue
        yield from field_exists(f"{at}/made_on", name, facts)
        field = facts.fields.get(name) if facts.fields else None
        if field is None:
            continue
        if len(field.shape) != 1:
            detail = f"field {name!r} has shape {shape_text(field.shape)}; `made_on` needs one boolean for each row, shape [N]"
            yield Flaw(f"{at}/made_on", "wrong_shape", detail)
        elif kind_of(field.dtype) != "boolean":
            detail = f"field {name!r} is {field.dtype}; `made_on` needs a boolean field: true in the rows that made the scores"
            yield Flaw(f"{at}/made_on", "wrong_dtype", detail)
        elif request.ablation is not None and facts.distinct(name) == [True]:
            detail = (
                f"field {name!r} is true in every row, so `made_on` leaves no row to test the rankings on; add rows that made no "
                "scores, or set `ablation: null`"
            )
            yield Flaw(f"{at}/made_on", "made_on_leaves_none", detail)


def made_on_leaves_rows(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """With the table at hand: the rows of all `made_on`, with their groups, leave a row to test."""
    if request.ablation is None:
        return
    fields = {entry.made_on: at for at, entry in _entries(request) if entry.made_on not in (None, NO_ROW)}
    columns = [facts.values(str(name)) for name in fields]
    marks = [column for column in columns if column is not None]
    if not fields or len(marks) < len(columns):
        return
    rows = request.clusters.rows(facts)
    split = None if request.ablation.split in ("half", "none") else facts.values(request.ablation.split)
    group = split or range(facts.examples)
    marked = {group[row] for row in rows if any(column[row] for column in marks)}
    if marked and all(group[row] in marked for row in rows):
        names, at = " and ".join(repr(name) for name in fields), next(iter(fields.values()))
        detail = (
            f"`made_on` leaves no row to test the rankings on: every row of the clusters made given scores (field {names}, true in "
            "the row itself or in a row of its group); add rows that made no scores, or set `ablation: null`"
        )
        yield Flaw(f"{at}/made_on", "made_on_leaves_none", detail)


def _entries(request: JobRequest) -> Iterator[tuple[str, Given]]:
    """The given entries, each with its pointer."""
    for index, method in enumerate(request.methods):
        if isinstance(method, Given):
            yield f"/methods/{index}", method


def _json_bytes(entry: Given, lists: Iterable[Sequence[float]]) -> int:
    """The size of `importance` as JSON; 0 where it is certainly below the limit."""
    if BYTES_OF_NUMBER * sum(map(len, lists)) <= MOST_IMPORTANCE_BYTES // 2:
        return 0
    return len(json.dumps(entry.importance, separators=(",", ":"), ensure_ascii=False).encode())


def _clusters_fit(at: str, given: list[str], request: JobRequest, facts: Facts, *, inside: bool = True) -> Iterator[Flaw]:
    """Flaws of missing and unknown clusters; none while the clusters' names are not known.

    `inside`: whether the request itself has a place for each cluster, below `at`.
    """
    names = request.clusters.names(request, facts)
    if names is None:
        return
    for name in [name for name in names if name not in set(given)][:1]:
        yield Flaw(
            at, "cluster_missing", f"cluster {name!r} has no importance; give one for each cluster of the job: {_few(names)}"
        )
    for name in [name for name in given if name not in set(names)]:
        yield Flaw(
            f"{at}/{escaped(name)}" if inside else at,
            "cluster_unknown",
            f"the job has no cluster {name[:100]!r}{nearest(name, names)}",
        )


def _rows_are_clusters(at: str, subject: str, table: TableFacts, request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """Flaws of the field with the clusters' names; its values are read where that costs little."""
    field = table.fields["cluster"]
    if len(field.shape) != 1 or kind_of(field.dtype) == "real":
        got = f"{field.dtype} {shape_text(field.shape)}"
        detail = f"{subject} is {got}; it needs one name for each row: a string, an integer or a boolean"
        yield Flaw(at, "wrong_dtype", detail)
        return
    values = table.distinct("cluster")
    if values is None:
        return
    if len(values) < table.examples <= MOST_CLUSTERS:
        detail = f"{subject} has {table.examples} rows, but {len(values)} different names; give each cluster one row"
        yield Flaw(at, "duplicate_cluster", detail)
    yield from _clusters_fit(at, names_of(values), request, facts, inside=False)


def _units_fit(at: str, count: int, request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is None or count == (units := unit_count(request, place)):
        return
    detail = (
        f"the importance has {count} numbers, but the {request.at} of layer {request.one_layer!r} has {units} units "
        f"({units_in_words(request.units)}, shape {place.shape}); give one number for each unit, in row-major order"
    )
    yield Flaw(at, "wrong_shape", detail)


def _shape_fits(
    at: str, subject: str, rows: str, shape: Sequence[int | None], dtype: str, request: JobRequest, facts: Facts
) -> Iterator[Flaw]:
    """Flaws of an array with one row for each example or cluster: its shape and its dtype."""
    layer = layer_of(request, facts.manifest) if facts.manifest else None
    place = place_of(request, layer) if layer else None
    if place is not None:
        accepted = [[unit_count(request, place)], place.shape] if len(place.shape) > 1 else [place.shape]
        if list(shape[1:]) not in accepted:
            shapes = " or ".join(f"[{', '.join([rows, *map(str, each)])}]" for each in accepted)
            got = shape_text(shape).replace("N", rows, 1)
            detail = f"{subject} has shape {got}; the {request.at} of layer {request.one_layer!r} takes {shapes}"
            yield Flaw(at, "wrong_shape", detail)
    if kind_of(dtype) not in ("real", "integer"):
        yield Flaw(at, "wrong_dtype", f"{subject} is {dtype}; scores are real numbers or integers")


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
