"""Content that lies elsewhere: the files that a URI or a glob stands for, and their bytes.

The web is read with httpx, which leaves redirects to us, every other place through fsspec and its drivers.

A URI comes from a stranger. It is read as text and held against the operator's list before anything is asked of any
place; nothing is listed, resolved or opened outside of it.
"""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import fsspec
import fsspec.core
import httpx

from unitrank_store.blobs.source_address import FOLDER, WEB, SourceAddress, malformed, quoted
from unitrank_store.errors import BadSource
from unitrank_tables.sizes import MiB

MOST_SHARDS = 10_000
PIECE = 4 * MiB
# How long a web server may keep silent.
WEB_SECONDS = 30.0


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
                raise BadSource("uri_unreadable", f"{quoted(self.name)} is no file")
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
        return BadSource("uri_not_found", f"{quoted(uri)} is not there")
    if answer.status_code in (401, 403):
        return BadSource("uri_forbidden", f"{quoted(uri)} may not be read by the service")
    if answer.is_redirect:
        return BadSource("uri_unreadable", f"{quoted(uri)} redirects, which is not followed; name the address it leads to")
    return BadSource("uri_unreadable", f"{quoted(uri)} was answered with the status {answer.status_code}")


class Sources:
    """The places that an operator has allowed."""

    def __init__(self, places: Sequence[str]) -> None:
        self._places = [SourceAddress.parse(place) for place in places]

    def check(self, uri: str, *, several: bool) -> None:
        """Raises BadSource for what may not be read, without a look at any place. `several`: it may be a glob."""
        address = SourceAddress.parse(uri)
        if not any(place.holds(address) for place in self._places):
            raise BadSource(
                "uri_not_allowed", f"the operator has allowed no place that {quoted(uri)} lies in; send the bytes instead"
            )
        if address.segments[-1] == "" and not address.query:
            raise malformed(uri, "it names a folder; expected a file")
        if address.is_glob and not several:
            raise malformed(uri, "a model is one file; expected no glob")

    def files(self, uri: str) -> Sequence[Source]:
        """The file, or those that the glob stands for, by name. Raises BadSource."""
        self.check(uri, several=True)
        address = SourceAddress.parse(uri)
        if address.scheme in WEB:
            return [WebFile(uri)]
        with _named(uri):
            return self._local(address, uri) if address.scheme == FOLDER else _elsewhere(address, uri)

    def _local(self, address: SourceAddress, uri: str) -> Sequence[Source]:
        roots = tuple(os.path.realpath(place.path) for place in self._places if place.scheme == FOLDER)
        check_inside(os.path.realpath(address.fixed), roots, uri)
        names = sorted(glob.iglob(address.path)) if address.is_glob else [address.path]
        paths = [path for path in _few(names, uri) if not address.is_glob or not os.path.isdir(path)]
        _check_some(paths, uri)
        return [LocalFile(path, f"file://{path}", roots) for path in paths]


def _elsewhere(address: SourceAddress, uri: str) -> Sequence[Source]:
    # A listing from before may know less than what the place holds now.
    filesystem, path = fsspec.core.url_to_fs(
        f"{address.scheme}://{address.place}/{'/'.join(address.segments)}", use_listings_cache=False
    )
    if not address.is_glob:
        return [RemoteFile(filesystem, path, uri)]
    names = sorted(name for name, info in filesystem.glob(path, detail=True).items() if info["type"] != "directory")
    _check_some(names, uri)
    return [RemoteFile(filesystem, name, filesystem.unstrip_protocol(name)) for name in _few(names, uri)]


def check_inside(path: str, roots: Sequence[str], name: str) -> None:
    """Raises BadSource for a path, without links in it, that lies in none of the folders: a link may lead out of them."""
    if not any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots):
        raise BadSource("uri_not_allowed", f"{quoted(name)} leads out of the places that the operator has allowed")


def _opened_path(handle: int, path: str) -> str:
    """Where an open file lies, whatever its name has come to mean meanwhile."""
    descriptor = f"/proc/self/fd/{handle}"
    return os.path.realpath(descriptor if os.path.exists(descriptor) else path)


def _few(paths: Sequence[str], uri: str) -> Sequence[str]:
    if len(paths) > MOST_SHARDS:
        raise BadSource("too_many_shards", f"{quoted(uri)} stands for {len(paths)} files; at most {MOST_SHARDS} are read")
    return paths


def _check_some(paths: Sequence[str], uri: str) -> None:
    if not paths:
        raise BadSource("uri_not_found", f"{quoted(uri)} stands for no file")


def check_drivers(places: Sequence[str]) -> None:
    """Raises ValueError for a place that cannot be read here: it is no URI, or its driver is not installed."""
    for place in places:
        try:
            scheme = SourceAddress.parse(place).scheme
            if scheme not in WEB:
                fsspec.get_filesystem_class(scheme)
        except (BadSource, ValueError, ImportError) as error:
            raise ValueError(f"{place!r} cannot be a source: {error}") from error


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Whatever a driver raises becomes a BadSource that tells the URI and not what the driver knows of keys and hosts."""
    try:
        yield
    except (BadSource, MemoryError):
        raise
    except FileNotFoundError as error:
        raise BadSource("uri_not_found", f"{quoted(uri)} is not there") from error
    except IsADirectoryError as error:
        raise BadSource("uri_unreadable", f"{quoted(uri)} is a folder; expected a file") from error
    except PermissionError as error:
        raise BadSource("uri_forbidden", f"{quoted(uri)} may not be read with what the service is given") from error
    except Exception as error:
        raise BadSource("uri_unreadable", f"{quoted(uri)} could not be read: {type(error).__name__}") from error
