"""References: the names of models and datasets in requests.

`name` means the current content of a name; `name@sha256:…` means one exact content.
"""

import re
from typing import NamedTuple

from unitrank_store.errors import RecordNotFound

_REFERENCE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})(?:@(sha256:[0-9a-f]{64}))?")


class Reference(NamedTuple):
    """A name, and the digest of an exact reference (else None)."""

    name: str
    digest: str | None


def parse_reference(text: str) -> Reference:
    """Split a reference into its parts. Raises RecordNotFound for a malformed reference."""
    match = _REFERENCE.fullmatch(text)
    if not match:
        raise RecordNotFound(f"the name {text[:200]!r} is malformed; expected 'name' or 'name@sha256:<64 hexadecimal digits>'")
    return Reference(match[1], match[2])
