"""Fields of a dataset: do they exist, and can their values name clusters or groups?"""

from collections.abc import Iterable, Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, Value, kind_of
from unitrank_schemas.facts.wording import excerpt, nearest, shape_text


def field_exists(at: str, field: str, facts: Facts) -> Iterator[Flaw]:
    """A flaw at the pointer `at` if the dataset does not have the field."""
    if facts.fields is not None and field not in facts.fields:
        yield Flaw(at, "field_not_found", f"the dataset has no field {field!r}{nearest(field, facts.fields)}")


def names_groups(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """A flaw at `at` unless the field has one integer, boolean or string for each row."""
    yield from field_exists(at, name, facts)
    field = facts.fields.get(name) if facts.fields else None
    if field is not None and len(field.shape) != 1:
        detail = f"field {name!r} has shape {shape_text(field.shape)}; use a field with one value per row, shape [N]"
        yield Flaw(at, "wrong_shape", detail)
    elif field is not None and kind_of(field.dtype) == "real":
        yield Flaw(at, "wrong_dtype", f"field {name!r} is {field.dtype}; use a field of integers, booleans or strings")


def names_clusters(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """The flaws of `names_groups`, and one for a string that is not printable.

    The strings name arrays of the result.
    """
    yield from names_groups(at, name, facts)
    field = facts.fields.get(name) if facts.fields else None
    if field is None or len(field.shape) != 1 or kind_of(field.dtype) != "text":
        return
    for value in facts.distinct(name) or []:
        if not str(value).isprintable():
            detail = f"field {name!r} holds {excerpt(value)}, which cannot name a cluster; use printable characters"
            yield Flaw(at, "bad_cluster_name", detail)
            return


def distinct_count(name: str | None, facts: Facts) -> int:
    """The number of distinct values; 0 for a missing field and for a field that was not read."""
    values = facts.distinct(name) if name is not None and facts.fields and name in facts.fields else None
    return len(values or [])


def distinct_names(name: str | None, facts: Facts) -> list[str] | None:
    """The names that the values give to clusters; None for a field that was not read."""
    values = facts.distinct(name) if name is not None and facts.fields and name in facts.fields else None
    return None if values is None else names_of(values)


def names_of(values: Iterable[Value]) -> list[str]:
    """The names that values of a field give to clusters."""
    return [str(int(value)) if isinstance(value, bool) else str(value) for value in values]


def y_rejected(facts: Facts) -> str:
    """Why field `y` cannot hold the labels, in brackets; empty if the dataset has no such field."""
    field = (facts.fields or {}).get("y")
    return (
        ""
        if field is None
        else f" (field 'y' is {field.dtype} {shape_text(field.shape)}; labels are integers or booleans, one per row)"
    )
