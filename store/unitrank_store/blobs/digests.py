"""Digests, by which contents are named: `sha256:` and 64 hexadecimal digits."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from unitrank_store.errors import Corrupt

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return the digest of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def verified(chunks: Iterable[bytes], digest: str) -> Iterator[bytes]:
    """Yield the chunks of a content.

    Raises Corrupt after the last one if they have another digest.
    """
    actual = hashlib.sha256()
    for chunk in chunks:
        actual.update(chunk)
        yield chunk
    if f"sha256:{actual.hexdigest()}" != digest:
        raise Corrupt(f"the stored content {digest} is damaged: its bytes have the digest sha256:{actual.hexdigest()}")


def hex_of(digest: str) -> str:
    """Return the 64 hexadecimal digits, which are safe as a file's name.

    Raises ValueError for a malformed digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"the digest {digest!r} is malformed; expected 'sha256:' and 64 hexadecimal digits")
    return digest.removeprefix("sha256:")
