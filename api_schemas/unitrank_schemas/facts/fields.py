"""Fields of a dataset: whether they exist, and whether their values can name clusters or groups."""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, kind_of
from unitrank_schemas.facts.wording import nearest, shape_shown, shown


def field_exists(at: str, field: str, facts: Facts) -> Iterator[Flaw]:
    """A flaw at the pointer `at` where the dataset has no such field."""
    if facts.fields is not None and field not in facts.fields:
        yield Flaw(at, "field_not_found", f"the dataset has no field {field!r}{nearest(field, facts.fields)}")


def names_groups(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """The field's values can name clusters or groups: one a row, and no real numbers."""
    yield from field_exists(at, name, facts)
    field = facts.fields.get(name) if facts.fields else None
    if field is not None and len(field.shape) != 1:
        yield Flaw(at, "wrong_shape", f"field {name!r} has the shape {shape_shown(field.shape)}; names are one a row, [N]")
    elif field is not None and kind_of(field.dtype) == "real":
        yield Flaw(at, "wrong_dtype", f"field {name!r} is {field.dtype}; names are integers, booleans or strings")


def names_clusters(at: str, name: str, facts: Facts) -> Iterator[Flaw]:
    """As `names_groups`; strings must be printable, too, because they name arrays of the result."""
    yield from names_groups(at, name, facts)
    field = facts.fields.get(name) if facts.fields else None
    if field is None or len(field.shape) != 1 or kind_of(field.dtype) != "text":
        return
    for value in facts.distinct(name) or []:
        if not str(value).isprintable():
            detail = f"field {name!r} holds {shown(value)}, which cannot name a cluster; use printable characters"
            yield Flaw(at, "bad_cluster_name", detail)
            return


def distinct_count(name: str | None, facts: Facts) -> int:
    """The number of distinct values of a field; 0 without a field, and where the values are not known."""
    values = facts.distinct(name) if name is not None and facts.fields and name in facts.fields else None
    return len(values or [])


def unlabelled(facts: Facts) -> str:
    """The reason why field `y` is not taken for the labels, in brackets; empty where the dataset has no such field."""
    field = (facts.fields or {}).get("y")
    return (
        ""
        if field is None
        else f" (field 'y' is {field.dtype} {shape_shown(field.shape)}, and labels are whole numbers, one a row)"
    )
