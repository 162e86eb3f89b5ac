"""The listing of a job: the short parts of its request that lists show and search.

A request may contain a dataset of a megabyte. A list of many jobs must not read it.
"""

import json
from typing import Any

from unitrank_schemas.base import Json

MOST_CHARACTERS = 1000
"""Characters of a value that a filter can name, and of each text in the listing."""
TEXT_CHARACTERS = 4000
"""Characters of a job that the search for words reads."""


def listing_of(request: Json, submitted_by: str = "") -> Json:
    """Return the listing of a job.

    `submitted_by`: name of the key that submitted the job; empty without keys.
    The entry `metadata` has the values as texts, for filters.
    """
    metadata = request.get("metadata") or {}
    layer = request.get("layer", "")
    layers = [str(name) for name in layer] if isinstance(layer, list) else [str(layer)]
    dataset = request.get("dataset")
    return {
        "model": str(request.get("model", "")),
        "layer": ", ".join(layers)[:MOST_CHARACTERS],
        "layers": layers,
        "dataset": dataset if isinstance(dataset, str) else None,
        "methods": [_method(entry) for entry in request.get("methods", [])],
        "submitted_by": submitted_by,
        "name": _short(metadata.get("name")),
        "tags": tags_of(metadata),
        "notes": _short(metadata.get("notes")),
        "metadata": {key: _texts(value, in_place=key == "classes") for key, value in metadata.items()},
    }


def words_of(id: str, listing: Json) -> str:
    """Return the text in which a search finds the job: all texts of its listing, in lower case.

    It is a field of its own, because a search reads the texts of thousands of jobs.
    """
    names = [listing[name] or "" for name in ("name", "model", "layer", "dataset", "submitted_by", "notes")]
    values = (text for texts in listing["metadata"].values() for text in texts)
    return "\n".join([id, *names, *listing["methods"], *listing["tags"], *values]).casefold()[:TEXT_CHARACTERS]


def tags_of(metadata: Json) -> list[str]:
    """Return the job's tags: the texts of a list, or the words of a text between commas."""
    tags = metadata.get("tags")
    values = tags.split(",") if isinstance(tags, str) else tags if isinstance(tags, list) else []
    return [tag.strip() for tag in values if isinstance(tag, str) and 0 < len(tag.strip()) <= MOST_CHARACTERS]


def _method(entry: Any) -> str:  # Any: a method of the request, as JSON
    if not isinstance(entry, dict):
        return str(entry)
    statistic = entry.get("statistic", "mean")
    return f"{entry.get('name')}" + (f" ({statistic})" if statistic not in (None, "mean") else "")


def _short(value: Any) -> str:  # Any: JSON
    return value[:MOST_CHARACTERS] if isinstance(value, str) else ""


def _texts(value: Any, *, in_place: bool) -> list[str]:  # Any: JSON
    """Return the value, or each element of a list, as text. Objects and long texts are left out.

    `in_place`: an empty text takes the place of each element that is left out. The place of a
    class's name is the number of the class.
    """
    texts = [_text(each) for each in (value if isinstance(value, list) else [value])]
    return [text or "" for text in texts if in_place or text is not None]


def _text(value: Any) -> str | None:  # Any: JSON
    """Return the value as text; None for an object, a list and a long text."""
    if isinstance(value, dict | list):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MOST_CHARACTERS else None
