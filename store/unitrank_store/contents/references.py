"""How requests name a model or a dataset: `name`, or `name@sha256:…` for one exact content."""

import re
from typing import NamedTuple

from unitrank_store.errors import RecordNotFound

_REFERENCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})(?:@(sha256:[0-9a-f]{64}))?")


class Reference(NamedTuple):
    """A name, and the digest where the reference is exact."""

    name: str
    digest: str | None


def parse_reference(text: str) -> Reference:
    """Raises RecordNotFound for what can name nothing."""
    match = _REFERENCE.fullmatch(text)
    if not match:
        raise RecordNotFound(f"{text[:200]!r} names nothing; expected 'name' or 'name@sha256:<64 hexadecimal digits>'")
    return Reference(match[1], match[2])
