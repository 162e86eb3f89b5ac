"""References: a name, or a name with the digest of one exact content."""

import pytest

from unitrank_store.contents.references import Reference, parse_reference
from unitrank_store.errors import RecordNotFound

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "reference"),
    [("net", Reference("net", None)), ("a.B-c_9", Reference("a.B-c_9", None)), (f"net@{DIGEST}", Reference("net", DIGEST))],
)
def test_reference_when_well_formed_then_is_read(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", "-net", "a/b", "a b", "net@", "net@sha256:ab", f"@{DIGEST}", f"net@{DIGEST.upper()}", f"net@{DIGEST}\n", "n" * 129]
)
def test_reference_when_malformed_then_names_nothing(text: str) -> None:
    with pytest.raises(RecordNotFound, match="expected 'name'"):
        parse_reference(text)
