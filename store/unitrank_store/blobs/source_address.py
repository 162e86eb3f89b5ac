"""Addresses of content that lies elsewhere: a URI in parts, read as text before anything is asked of any place."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from unitrank_store.errors import BadSource

LONGEST_URI = 2048
WEB = ("http", "https")
FOLDER = "file"
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
            raise malformed(uri, "it is too long or holds characters that no URI has")
        if "::" in uri:
            raise malformed(uri, "chains of places ('::') are not read; name the file itself")
        scheme, separator, rest = uri.partition("://")
        if not separator or not scheme.isalnum():
            raise malformed(uri, "expected something like 's3://bucket/data.npz'")
        if scheme.lower() == "local":
            raise malformed(uri, "a folder on this machine is written 'file:///folder'")
        # Only on the web a question mark begins a query: elsewhere it stands for a character.
        path, _, query = rest.partition("?") if scheme.lower() in WEB else (rest, "", "")
        place, _, path = path.partition("/")
        if "@" in place or "#" in rest or any(letter in place for letter in _GLOB):
            raise malformed(uri, "users, passwords and fragments have no place in it, and the host is spelled out")
        segments = tuple(path.split("/"))
        _check_segments(uri, segments)
        if place and scheme.lower() == FOLDER:
            raise malformed(uri, "a folder on this machine has no host: 'file:///folder'")
        return cls(scheme.lower(), place.lower() if scheme.lower() in WEB else place, segments, query)

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
        return self.scheme not in WEB and any(letter in segment for segment in self.segments for letter in _GLOB)

    def holds(self, other: "SourceAddress") -> bool:
        """Whether the other is this place or lies below it; names are compared whole."""
        root = self.segments[:-1] if self.segments[-1] == "" else self.segments
        return (self.scheme, self.place) == (other.scheme, other.place) and other.segments[: len(root)] == root


def malformed(uri: str, why: str) -> BadSource:
    return BadSource("uri_malformed", f"{quoted(uri)} cannot be read: {why}")


def quoted(uri: str) -> str:
    """The URI for a message, without a query, which may hold a signature."""
    plain = uri.partition("?")[0] if uri.lower().startswith(WEB) else uri
    return repr(plain if len(plain) <= 200 else plain[:200] + "…")


def _check_segments(uri: str, segments: Sequence[str]) -> None:
    for segment in segments:
        decoded = unquote(segment)
        # Some servers take what follows a semicolon for a parameter.
        if decoded.partition(";")[0] in (".", "..") or "/" in decoded or "\\" in decoded or "\0" in decoded:
            raise malformed(uri, "steps such as '..' are not followed; spell the path out")
        if "**" in segment:
            raise malformed(uri, "'**' would be the whole place; name the folder")
    if "" in segments[:-1]:
        raise malformed(uri, "an empty step ('//') in the path")
