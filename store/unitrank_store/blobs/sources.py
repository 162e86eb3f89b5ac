"""Sources: files that the service reads from a URI, or from a glob of URIs.

Web addresses are read by httpx, which does not follow redirects. All other URIs are read by fsspec
and its drivers.

A URI comes from a client and is not trusted. It is parsed as text and compared with the operator's
list (UNITRANK_SOURCES) before any server or disk is accessed. No file outside of this list is
listed, resolved or opened.
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
"""Maximum number of files of one glob."""
PIECE = 4 * MiB
"""Maximum bytes of one read."""
PARQUET = ".parquet"
WEB_SECONDS = 30.0
"""Seconds after which a web server that sends nothing counts as unreachable."""


class Source(Protocol):
    """One file that can be read."""

    @property
    def name(self) -> str:
        """The file's URI, for messages."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the file's bytes, in order. Raises BadSource."""


@dataclass(frozen=True)
class LocalFile:
    """A file on the service's machine.

    `roots`: the allowed folders. The file is checked again after it was opened: its path may have
    become a link that leads out of them.
    """

    path: str
    name: str
    roots: tuple[str, ...]

    def pieces(self) -> Iterator[bytes]:
        with translated(self.name), self.open() as file:
            while piece := file.read(PIECE):
                yield piece

    def open(self) -> BinaryIO:
        """Open the file. Raises BadSource."""
        # O_NONBLOCK: to open a named pipe without a writer would otherwise block for ever.
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadSource("uri_unreadable", f"{quoted(self.name)} is not a regular file")
            check_inside(_real_path(handle, self.path), self.roots, self.name)
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise


@dataclass(frozen=True)
class RemoteFile:
    """A file in a filesystem that fsspec supports.

    `filesystem`: Any, because fsspec has no types.
    """

    filesystem: Any
    path: str
    name: str

    def pieces(self) -> Iterator[bytes]:
        with translated(self.name), self.filesystem.open(self.path, "rb", block_size=PIECE, cache_type="readahead") as file:
            while piece := file.read(PIECE):
                yield piece


@dataclass(frozen=True)
class WebFile:
    """A file at a web address.

    Redirects are not followed: they may lead out of the allowed list.
    """

    name: str

    def pieces(self) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity"}
        with (
            translated(self.name),
            httpx.stream("GET", self.name, headers=headers, timeout=WEB_SECONDS, trust_env=False) as response,
        ):
            if response.status_code != 200:
                raise _status_error(self.name, response)
            # Pieces of any size, as they arrive: the caller measures the speed of the server.
            yield from response.iter_raw()


def _status_error(uri: str, response: httpx.Response) -> BadSource:
    if response.status_code in (404, 410):
        return BadSource("uri_not_found", f"{quoted(uri)} does not exist")
    if response.status_code in (401, 403):
        return BadSource("uri_forbidden", f"the service may not read {quoted(uri)}: the server answered {response.status_code}")
    if response.is_redirect:
        return BadSource(
            "uri_unreadable", f"{quoted(uri)} redirects to another address, which is not followed; give the final address"
        )
    return BadSource("uri_unreadable", f"{quoted(uri)} cannot be read: the server answered with status {response.status_code}")


class Sources:
    """The locations that the operator allows (UNITRANK_SOURCES). `places`: their URIs."""

    def __init__(self, places: Sequence[str]) -> None:
        self._places = [SourceAddress.parse(place) for place in places]

    def check(self, uri: str, *, several: bool) -> None:
        """Raise BadSource if the URI may not be read. No server or disk is accessed.

        `several`: whether a glob is allowed.
        """
        address = SourceAddress.parse(uri)
        if not any(place.holds(address) for place in self._places):
            raise BadSource(
                "uri_not_allowed",
                f"{quoted(uri)} is not in a location that the operator allows (UNITRANK_SOURCES); upload the bytes instead",
            )
        if address.segments[-1] == "" and not address.query:
            raise malformed(uri, "it names a folder; expected a file")
        if address.is_glob and not several:
            raise malformed(uri, "it has wildcards, but a model is one file; give the URI of this file")

    def files(self, uri: str) -> Sequence[Source]:
        """Return the files that a URI or a glob names, sorted by name. Raises BadSource."""
        self.check(uri, several=True)
        address = SourceAddress.parse(uri)
        if address.scheme in WEB:
            return [WebFile(uri)]
        with translated(uri):
            return self._local_files(address, uri) if address.scheme == FOLDER else _remote_files(address, uri)

    def stays_in_place(self, uri: str) -> bool:
        """Return whether the rows of a dataset are read from its own files.

        This holds for a glob, and for a Parquet file that is not on the web.
        """
        address = SourceAddress.parse(uri)
        return address.is_glob or (address.scheme not in WEB and address.segments[-1].endswith(PARQUET))

    def file(self, uri: str) -> Source:
        """Return the one file with this URI, which may have characters of a glob in its name.

        Raises BadSource if the operator does not allow it. No server or disk is accessed.
        """
        address = SourceAddress.of_file(uri)
        if not any(place.holds(address) for place in self._places):
            raise BadSource(
                "uri_not_allowed", f"{quoted(uri)} is not in a location that the operator allows here (UNITRANK_SOURCES)"
            )
        if address.scheme == FOLDER:
            return LocalFile(address.path, uri, self._roots)
        with translated(uri):
            plain = f"{address.scheme}://{address.place}/{'/'.join(address.segments)}"
            filesystem, path = fsspec.core.url_to_fs(plain, use_listings_cache=False)
        return RemoteFile(filesystem, path, uri)

    def _local_files(self, address: SourceAddress, uri: str) -> Sequence[Source]:
        check_inside(os.path.realpath(address.fixed), self._roots, uri)
        names = sorted(glob.iglob(address.path)) if address.is_glob else [address.path]
        paths = [path for path in _at_most_shards(names, uri) if not address.is_glob or not os.path.isdir(path)]
        _check_not_empty(paths, uri)
        return [LocalFile(path, f"file://{path}", self._roots) for path in paths]

    @property
    def _roots(self) -> tuple[str, ...]:
        return tuple(os.path.realpath(place.path) for place in self._places if place.scheme == FOLDER)


def _remote_files(address: SourceAddress, uri: str) -> Sequence[Source]:
    # No cached listing of the folder: files may have been added since.
    filesystem, path = fsspec.core.url_to_fs(
        f"{address.scheme}://{address.place}/{'/'.join(address.segments)}", use_listings_cache=False
    )
    if not address.is_glob:
        return [RemoteFile(filesystem, path, uri)]
    names = sorted(name for name, info in filesystem.glob(path, detail=True).items() if info["type"] != "directory")
    _check_not_empty(names, uri)
    # Not `unstrip_protocol`: it names the first of the schemes of a filesystem (gs, gcs).
    return [RemoteFile(filesystem, name, f"{address.scheme}://{name.lstrip('/')}") for name in _at_most_shards(names, uri)]


def check_inside(path: str, roots: Sequence[str], name: str) -> None:
    """Raise BadSource if a path is in none of the folders `roots`.

    All paths must be resolved: a link may lead out of the folders.
    `name`: the URI, for the message.
    """
    if not any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots):
        raise BadSource("uri_not_allowed", f"{quoted(name)} leads out of the locations that the operator allows (UNITRANK_SOURCES)")


def _real_path(handle: int, path: str) -> str:
    """Return the resolved path of an open file, also if the file was renamed since."""
    descriptor = f"/proc/self/fd/{handle}"
    return os.path.realpath(descriptor if os.path.exists(descriptor) else path)


def _at_most_shards(paths: Sequence[str], uri: str) -> Sequence[str]:
    if len(paths) > MOST_SHARDS:
        raise BadSource("too_many_shards", f"{quoted(uri)} matches {len(paths)} files; at most {MOST_SHARDS} are accepted")
    return paths


def _check_not_empty(paths: Sequence[str], uri: str) -> None:
    if not paths:
        raise BadSource("uri_not_found", f"{quoted(uri)} matches no file")


def check_drivers(places: Sequence[str]) -> None:
    """Raise ValueError for a location that cannot be read.

    Its URI is malformed, or the fsspec driver of its scheme is not installed.
    """
    for place in places:
        try:
            scheme = SourceAddress.parse(place).scheme
            if scheme not in WEB:
                fsspec.get_filesystem_class(scheme)
        except (BadSource, ValueError, ImportError) as error:
            raise ValueError(f"{place!r} cannot be a source: {error}") from error


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise BadSource in place of a driver's error.

    The message names the URI. It omits the driver's text, which may contain keys and hosts.
    """
    try:
        yield
    except (BadSource, MemoryError):
        raise
    except FileNotFoundError as error:
        raise BadSource("uri_not_found", f"{quoted(uri)} does not exist") from error
    except IsADirectoryError as error:
        raise BadSource("uri_unreadable", f"{quoted(uri)} is a folder; expected a file") from error
    except PermissionError as error:
        raise BadSource("uri_forbidden", f"the service's credentials do not allow it to read {quoted(uri)}") from error
    except Exception as error:
        raise BadSource("uri_unreadable", f"{quoted(uri)} could not be read: {type(error).__name__}") from error
