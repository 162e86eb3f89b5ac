"""Content that lies elsewhere: which URIs may be read, what a glob stands for, and the bytes.

The web is read with httpx, which leaves redirects to us, every other place through fsspec and its drivers.

A URI comes from a stranger. It is read as text and held against the operator's list before anything is asked of any
place; nothing is listed, resolved or opened outside of it.
"""

import glob
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote

import fsspec
import fsspec.core
import httpx

from unitrank_store.errors import BadSource
from unitrank_tables.sizes import MiB

LONGEST_URI = 2048
MOST_SHARDS = 10_000
PIECE = 4 * MiB
# How long a web server may keep silent.
WEB_SECONDS = 30.0
_WEB = ("http", "https")
_FOLDER = "file"
_GLOB = "*?["


@dataclass(frozen=True)
class SourceAddress:
    """A URI in parts; `place` is its host or bucket."""

    scheme: str
    place: str
    segments: tuple[str, ...]
    query: str = ""

    @classmethod
    def parse(cls, uri: str) -> "SourceAddress":
        """Raises BadSource for what is no plain URI."""
        if len(uri) > LONGEST_URI or not uri.isprintable() or " " in uri or "\\" in uri:
            raise _malformed(uri, "it is too long or holds characters that no URI has")
        if "::" in uri:
            raise _malformed(uri, "chains of places ('::') are not read; name the file itself")
        scheme, separator, rest = uri.partition("://")
        if not separator or not scheme.isalnum():
            raise _malformed(uri, "expected something like 's3://bucket/data.npz'")
        if scheme.lower() == "local":
            raise _malformed(uri, "a folder on this machine is written 'file:///folder'")
        # Only on the web a question mark begins a query: elsewhere it stands for a character.
        path, _, query = rest.partition("?") if scheme.lower() in _WEB else (rest, "", "")
        place, _, path = path.partition("/")
        if "@" in place or "#" in rest or any(letter in place for letter in _GLOB):
            raise _malformed(uri, "users, passwords and fragments have no place in it, and the host is spelled out")
        segments = tuple(path.split("/"))
        _check_segments(uri, segments)
        if place and scheme.lower() == _FOLDER:
            raise _malformed(uri, "a folder on this machine has no host: 'file:///folder'")
        return cls(scheme.lower(), place.lower() if scheme.lower() in _WEB else place, segments, query)

    @property
    def path(self) -> str:
        """Of a folder on this machine."""
        return "/" + "/".join(self.segments)

    @property
    def fixed(self) -> str:
        """The path up to the first part that stands for several."""
        steps = itertools.takewhile(lambda segment: not any(letter in segment for letter in _GLOB), self.segments)
        return "/" + "/".join(steps)

    @property
    def is_glob(self) -> bool:
        return self.scheme not in _WEB and any(letter in segment for segment in self.segments for letter in _GLOB)

    def holds(self, other: "SourceAddress") -> bool:
        """Whether the other is this place or lies below it; names are compared whole."""
        root = self.segments[:-1] if self.segments[-1] == "" else self.segments
        return (self.scheme, self.place) == (other.scheme, other.place) and other.segments[: len(root)] == root


class Source(Protocol):
    """One file elsewhere."""

    @property
    def name(self) -> str:
        """What a problem calls it."""

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, in order. Raises BadSource."""


@dataclass(frozen=True)
class LocalFile:
    """A file of a folder on this machine, which is still in its place when it is opened."""

    path: str
    name: str
    roots: tuple[str, ...]

    def pieces(self) -> Iterator[bytes]:
        with _named(self.name), self._opened() as file:
            while piece := file.read(PIECE):
                yield piece

    def _opened(self) -> BinaryIO:
        # A pipe without a writer would hold us for ever.
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadSource("uri_unreadable", f"{_shown(self.name)} is no file")
            check_inside(_opened_path(handle, self.path), self.roots, self.name)
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise


@dataclass(frozen=True)
class RemoteFile:
    """A file of a place that fsspec reaches."""

    filesystem: Any  # fsspec has no types
    path: str
    name: str

    def pieces(self) -> Iterator[bytes]:
        with _named(self.name), self.filesystem.open(self.path, "rb", block_size=PIECE, cache_type="readahead") as file:
            while piece := file.read(PIECE):
                yield piece


@dataclass(frozen=True)
class WebFile:
    """What a web server answers at one address, and nowhere else: a redirect may lead anywhere."""

    name: str

    def pieces(self) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity"}
        with _named(self.name), httpx.stream("GET", self.name, headers=headers, timeout=WEB_SECONDS, trust_env=False) as answer:
            if answer.status_code != 200:
                raise _unanswered(self.name, answer)
            # As it comes: who waits for more cannot see how slow it is.
            yield from answer.iter_raw()


def _unanswered(uri: str, answer: httpx.Response) -> BadSource:
    if answer.status_code in (404, 410):
        return BadSource("uri_not_found", f"{_shown(uri)} is not there")
    if answer.status_code in (401, 403):
        return BadSource("uri_forbidden", f"{_shown(uri)} may not be read by the service")
    if answer.is_redirect:
        return BadSource("uri_unreadable", f"{_shown(uri)} redirects, which is not followed; name the address it leads to")
    return BadSource("uri_unreadable", f"{_shown(uri)} was answered with the status {answer.status_code}")


class Sources:
    """The places that an operator has allowed."""

    def __init__(self, places: Sequence[str]) -> None:
        self._places = [SourceAddress.parse(place) for place in places]

    def check(self, uri: str, *, several: bool) -> None:
        """Raises BadSource for what may not be read, without a look at any place. `several`: it may be a glob."""
        location = SourceAddress.parse(uri)
        if not any(place.holds(location) for place in self._places):
            raise BadSource(
                "uri_not_allowed", f"the operator has allowed no place that {_shown(uri)} lies in; send the bytes instead"
            )
        if location.segments[-1] == "" and not location.query:
            raise _malformed(uri, "it names a folder; expected a file")
        if location.is_glob and not several:
            raise _malformed(uri, "a model is one file; expected no glob")

    def files(self, uri: str) -> Sequence[Source]:
        """The file, or those that the glob stands for, by name. Raises BadSource."""
        self.check(uri, several=True)
        location = SourceAddress.parse(uri)
        if location.scheme in _WEB:
            return [WebFile(uri)]
        with _named(uri):
            return self._local(location, uri) if location.scheme == _FOLDER else _elsewhere(location, uri)

    def _local(self, location: SourceAddress, uri: str) -> Sequence[Source]:
        roots = tuple(os.path.realpath(place.path) for place in self._places if place.scheme == _FOLDER)
        check_inside(os.path.realpath(location.fixed), roots, uri)
        names = sorted(glob.iglob(location.path)) if location.is_glob else [location.path]
        paths = [path for path in _few(names, uri) if not location.is_glob or not os.path.isdir(path)]
        _check_some(paths, uri)
        return [LocalFile(path, f"file://{path}", roots) for path in paths]


def _elsewhere(location: SourceAddress, uri: str) -> Sequence[Source]:
    # A listing from before may know less than what the place holds now.
    filesystem, path = fsspec.core.url_to_fs(
        f"{location.scheme}://{location.place}/{'/'.join(location.segments)}", use_listings_cache=False
    )
    if not location.is_glob:
        return [RemoteFile(filesystem, path, uri)]
    names = sorted(name for name, info in filesystem.glob(path, detail=True).items() if info["type"] != "directory")
    _check_some(names, uri)
    return [RemoteFile(filesystem, name, filesystem.unstrip_protocol(name)) for name in _few(names, uri)]


def check_inside(path: str, roots: Sequence[str], name: str) -> None:
    """Raises BadSource for a path, without links in it, that lies in none of the folders: a link may lead out of them."""
    if not any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots):
        raise BadSource("uri_not_allowed", f"{_shown(name)} leads out of the places that the operator has allowed")


def _opened_path(handle: int, path: str) -> str:
    """Where an open file lies, whatever its name has come to mean meanwhile."""
    descriptor = f"/proc/self/fd/{handle}"
    return os.path.realpath(descriptor if os.path.exists(descriptor) else path)


def _few(paths: Sequence[str], uri: str) -> Sequence[str]:
    if len(paths) > MOST_SHARDS:
        raise BadSource("too_many_shards", f"{_shown(uri)} stands for {len(paths)} files; at most {MOST_SHARDS} are read")
    return paths


def _check_some(paths: Sequence[str], uri: str) -> None:
    if not paths:
        raise BadSource("uri_not_found", f"{_shown(uri)} stands for no file")


def check_drivers(places: Sequence[str]) -> None:
    """Raises ValueError for a place that cannot be read here: it is no URI, or its driver is not installed."""
    for place in places:
        try:
            scheme = SourceAddress.parse(place).scheme
            if scheme not in _WEB:
                fsspec.get_filesystem_class(scheme)
        except (BadSource, ValueError, ImportError) as error:
            raise ValueError(f"{place!r} cannot be a source: {error}") from error


def _check_segments(uri: str, segments: Sequence[str]) -> None:
    for segment in segments:
        decoded = unquote(segment)
        # Some servers take what follows a semicolon for a parameter.
        if decoded.partition(";")[0] in (".", "..") or "/" in decoded or "\\" in decoded or "\0" in decoded:
            raise _malformed(uri, "steps such as '..' are not followed; spell the path out")
        if "**" in segment:
            raise _malformed(uri, "'**' would be the whole place; name the folder")
    if "" in segments[:-1]:
        raise _malformed(uri, "an empty step ('//') in the path")


def _malformed(uri: str, why: str) -> BadSource:
    return BadSource("uri_malformed", f"{_shown(uri)} cannot be read: {why}")


def _shown(uri: str) -> str:
    """Without a query, which may hold a signature."""
    plain = uri.partition("?")[0] if uri.lower().startswith(_WEB) else uri
    return repr(plain if len(plain) <= 200 else plain[:200] + "…")


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Whatever a driver raises becomes a BadSource that tells the URI and not what the driver knows of keys and hosts."""
    try:
        yield
    except (BadSource, MemoryError):
        raise
    except FileNotFoundError as error:
        raise BadSource("uri_not_found", f"{_shown(uri)} is not there") from error
    except IsADirectoryError as error:
        raise BadSource("uri_unreadable", f"{_shown(uri)} is a folder; expected a file") from error
    except PermissionError as error:
        raise BadSource("uri_forbidden", f"{_shown(uri)} may not be read with what the service is given") from error
    except Exception as error:
        raise BadSource("uri_unreadable", f"{_shown(uri)} could not be read: {type(error).__name__}") from error
