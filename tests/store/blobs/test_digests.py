"""Digests: contents are verified while they are read, and malformed digests are rejected."""

import pytest

from unitrank_store.blobs.digests import digest_of, hex_of, verified
from unitrank_store.errors import Corrupt


def test_chunks_when_they_are_the_content_then_all_come() -> None:
    assert list(verified([b"on", b"", b"e"], digest_of(b"one"))) == [b"on", b"", b"e"]


def test_chunks_when_one_is_damaged_then_come_and_are_corrupt_at_the_end() -> None:
    chunks = verified([b"on", b"x"], digest_of(b"one"))

    assert (next(chunks), next(chunks)) == (b"on", b"x")
    with pytest.raises(Corrupt, match=digest_of(b"one")):
        next(chunks)


@pytest.mark.parametrize("digest", ["", "sha256:", "ab" * 32, "sha256:" + "AB" * 32, "sha256:../" + "a" * 61])
def test_digest_when_malformed_then_has_no_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        hex_of(digest)
