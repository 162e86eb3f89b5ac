"""Addresses of sources: a URI is parsed as text, and compared with a location by its segments."""

import pytest

from unitrank_store.blobs.source_address import SourceAddress


def test_address_when_written_differently_then_is_the_same() -> None:
    assert SourceAddress.parse("HTTPS://Data.Example.org/a") == SourceAddress.parse("https://data.example.org/a")


@pytest.mark.parametrize(
    ("place", "uri", "holds"),
    [
        ("s3://data/a", "s3://data/a/b.npz", True),
        ("s3://data/a/", "s3://data/a/b.npz", True),
        ("s3://data/a", "s3://data/ab/c.npz", False),
        ("s3://data/a", "s3://other/a/b.npz", False),
        ("s3://data", "gs://data/a.npz", False),
    ],
)
def test_place_when_it_holds_an_address_then_compares_whole_names(place: str, uri: str, holds: bool) -> None:
    assert SourceAddress.parse(place).holds(SourceAddress.parse(uri)) is holds


@pytest.mark.parametrize(
    ("uri", "is_glob", "fixed"),
    [
        ("s3://data/a/*.npz", True, "/a"),
        ("s3://data/a?/b.npz", True, "/"),
        ("https://data.example.org/a?b=c", False, "/a"),
        ("file:///a/b.npz", False, "/a/b.npz"),
    ],
)
def test_address_when_it_has_wildcards_then_is_a_glob(uri: str, is_glob: bool, fixed: str) -> None:
    address = SourceAddress.parse(uri)

    assert (address.is_glob, address.fixed) == (is_glob, fixed)
