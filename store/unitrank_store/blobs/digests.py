"""Names of contents: `sha256:` and 64 hexadecimal digits."""

import hashlib
import re
from collections.abc import Iterable, Iterator

from unitrank_store.errors import Corrupt

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """The name under which these bytes are stored."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def verified(chunks: Iterable[bytes], digest: str) -> Iterator[bytes]:
    """The chunks of a content. Raises Corrupt after the last chunk, where together they have another digest."""
    actual = hashlib.sha256()
    for chunk in chunks:
        actual.update(chunk)
        yield chunk
    if f"sha256:{actual.hexdigest()}" != digest:
        raise Corrupt(f"the stored content {digest} has the digest sha256:{actual.hexdigest()}")


def hex_of(digest: str) -> str:
    """The 64 digits alone, safe as a file's name. Raises ValueError for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest; expected 'sha256:' and 64 hexadecimal digits")
    return digest.removeprefix("sha256:")
