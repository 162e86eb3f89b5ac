"""Sources: allowed URIs are decided from their text alone, and their files are read."""

import os
from pathlib import Path

import pytest

from unitrank_store.blobs.sources import RemoteFile, Sources, check_drivers
from unitrank_store.errors import BadSource

PLACES = ("s3://sets/mnist/", "https://data.example.org:8443/open", "file:///srv/sets")


def refused(sources: Sources, uri: str, *, glob: bool = True) -> str:
    with pytest.raises(BadSource) as caught:
        sources.check(uri, several=glob)
    assert caught.value.detail
    return caught.value.code


@pytest.mark.parametrize(
    "uri",
    [
        "s3://sets/mnist/train.npz",
        "S3://sets/mnist/deep/er/train.npz",
        "s3://sets/mnist/*.npz",
        "s3://sets/mnist/*/part-?.npz",
        "https://DATA.example.org:8443/open/a.npz?signature=x%2Fy",
        "https://data.example.org:8443/open",
        "file:///srv/sets/a.npz",
    ],
)
def test_uri_when_inside_a_place_then_may_be_read(uri: str) -> None:
    Sources(PLACES).check(uri, several=True)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://sets/other.npz",
        "s3://sets/mnist2/train.npz",
        "s3://sets/*/train.npz",
        "s3://other/mnist/train.npz",
        "gs://sets/mnist/train.npz",
        "http://data.example.org:8443/open/a.npz",
        "https://data.example.org/open/a.npz",
        "https://data.example.org:8443/opened/a.npz",
        "https://data.example.org:8443.evil.example/open/a.npz",
        "https://127.0.0.1/open/a.npz",
        "file:///etc/passwd",
        "file:///srv/sets2/a.npz",
        "memory://sets/a.npz",
        "ftp://data.example.org/a.npz",
    ],
)
def test_uri_when_outside_all_places_then_is_not_allowed(uri: str) -> None:
    assert refused(Sources(PLACES), uri) == "uri_not_allowed"
    assert refused(Sources(()), uri) == "uri_not_allowed"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "train.npz",
        "/srv/sets/a.npz",
        "file:/srv/sets/a.npz",
        "file:srv",
        "data:application/octet-stream;base64,AA==",
        "s3:///mnist/../../train.npz",
        "s3://sets/mnist/../secret.npz",
        "s3://sets/mnist/%2e%2e/secret.npz",
        "s3://sets/mnist/%2E./secret.npz",
        "s3://sets/mnist/./train.npz",
        "s3://sets/mnist//train.npz",
        "https://data.example.org:8443/open/..%2fsecret.npz",
        "https://data.example.org:8443/open/..%5csecret.npz",
        "https://data.example.org:8443/open/a%00.npz",
        "https://user:secret@data.example.org:8443/open/a.npz",
        "https://data.example.org:8443@evil.example/open/a.npz",
        "https://data.example.org:8443/open/a.npz#x",
        "https://data.example.org:8443\\@evil.example/open/a.npz",
        "zip://train.npz::http://evil.example/a.zip",
        "zip://train.npz::s3://sets/mnist/a.zip",
        "simplecache::s3://sets/mnist/a.npz",
        "filecache::file:///srv/sets/a.npz",
        "s3://sets/mnist/a b.npz",
        "s3://sets/mnist/a\nb.npz",
        "s3://sets/mnist/a\0.npz",
        "s3://se*/mnist/a.npz",
        "s3://sets/mnist/**/a.npz",
        "local:///srv/sets/a.npz",
        "file://host/srv/sets/a.npz",
        "https://data.example.org:8443/open/..;/secret.npz",
        "s3://sets/mnist/",
        "s3://sets/mnist/" + "a" * 3000,
    ],
)
def test_uri_when_malformed_then_is_rejected(uri: str) -> None:
    assert refused(Sources(PLACES), uri) == "uri_malformed"


def test_glob_when_one_file_is_expected_then_is_malformed() -> None:
    assert refused(Sources(PLACES), "s3://sets/mnist/*.pt2", glob=False) == "uri_malformed"


def test_place_when_it_cannot_be_read_here_then_raises_at_once() -> None:
    check_drivers(["https://data.example.org/", "file:///srv"])
    for place, why in {"nonsense": "s3://bucket", "gs://sets/": "gcsfs", "x://sets/": "x"}.items():
        with pytest.raises(ValueError, match=why):
            check_drivers([place])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three shards, a sub-folder, and links that lead out of it."""
    inside = tmp_path / "sets"
    (inside / "more").mkdir(parents=True)
    for name in ("b.npz", "a.npz", "more/c.npz"):
        (inside / name).write_bytes(name.encode() * 3)
    (tmp_path / "secret.npz").write_bytes(b"secret")
    (inside / "way-out.npz").symlink_to(tmp_path / "secret.npz")
    (inside / "folder-out").symlink_to(tmp_path)
    return inside


def read(sources: Sources, uri: str) -> list[bytes]:
    return [b"".join(source.pieces()) for source in sources.files(uri)]


def test_files_when_a_glob_matches_then_are_read_by_name(folder: Path) -> None:
    sources = Sources([folder.as_uri()])

    assert read(sources, f"{folder.as_uri()}/?.npz") == [b"a.npz" * 3, b"b.npz" * 3]
    assert read(sources, f"{folder.as_uri()}/more/*") == [b"more/c.npz" * 3]
    assert read(sources, f"{folder.as_uri()}/a.npz") == [b"a.npz" * 3]


def test_files_when_the_scheme_is_in_capitals_then_are_read_too(folder: Path) -> None:
    assert read(Sources([folder.as_uri()]), folder.as_uri().replace("file", "FILE", 1) + "/a.npz") == [b"a.npz" * 3]


def test_files_when_a_link_stays_inside_then_is_read(folder: Path) -> None:
    (folder / "again.npz").symlink_to(folder / "a.npz")

    assert read(Sources([folder.as_uri()]), f"{folder.as_uri()}/ag*.npz") == [b"a.npz" * 3]


def test_file_when_it_becomes_a_link_out_before_it_is_opened_then_is_not_read(folder: Path) -> None:
    (source,) = Sources([folder.as_uri()]).files(f"{folder.as_uri()}/a.npz")
    (folder / "a.npz").unlink()
    (folder / "a.npz").symlink_to(folder.parent / "secret.npz")

    with pytest.raises(BadSource) as caught:
        list(source.pieces())
    assert caught.value.code == "uri_not_allowed"


def test_file_when_it_is_a_pipe_then_is_refused_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe.npz")

    with pytest.raises(BadSource, match="is not a regular file"):
        read(Sources([folder.as_uri()]), f"{folder.as_uri()}/pipe.npz")


def test_problem_when_the_uri_has_a_signature_then_omits_the_signature() -> None:
    with pytest.raises(BadSource) as caught:
        Sources(PLACES).check("https://elsewhere.example/a.npz?signature=secret", several=True)

    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("path", ["way-out.npz", "folder-out/secret.npz", "folder-out/*.npz", "*.npz"])
def test_files_when_a_link_leads_out_then_nothing_is_read(folder: Path, path: str) -> None:
    sources = Sources([folder.as_uri()])
    with pytest.raises(BadSource) as caught:
        read(sources, f"{folder.as_uri()}/{path}")

    assert caught.value.code == "uri_not_allowed"


@pytest.mark.parametrize(
    ("path", "code"), [("none.npz", "uri_not_found"), ("none-*.npz", "uri_not_found"), ("more", "uri_unreadable")]
)
def test_files_when_they_cannot_be_read_then_the_code_is_the_reason(folder: Path, path: str, code: str) -> None:
    with pytest.raises(BadSource) as caught:
        read(Sources([folder.as_uri()]), f"{folder.as_uri()}/{path}")

    assert caught.value.code == code


class Locked:
    """A filesystem that denies every read, with a secret in its error."""

    def open(self, path: str, *rest: object, **options: object) -> object:
        raise PermissionError(path, "key AKIA123")


def test_pieces_when_they_may_not_be_read_then_are_forbidden_and_the_error_has_no_key() -> None:
    with pytest.raises(BadSource) as caught:
        list(RemoteFile(Locked(), "sets/a.npz", "s3://sets/a.npz").pieces())

    assert caught.value.code == "uri_forbidden"
    assert "AKIA123" not in caught.value.detail
