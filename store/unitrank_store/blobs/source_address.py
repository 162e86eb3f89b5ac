"""URIs of models and datasets, parsed and checked as text before any server or disk is accessed."""

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
    """The parts of a URI.

    `place`: the host of a web address, or the bucket; empty for a folder on this machine.
    `segments`: the path, split at each slash.
    """

    scheme: str
    place: str
    segments: tuple[str, ...]
    query: str = ""

    @classmethod
    def parse(cls, uri: str) -> "SourceAddress":
        """Split a URI into its parts. Raises BadSource for a malformed URI."""
        if len(uri) > LONGEST_URI or not uri.isprintable() or " " in uri or "\\" in uri:
            raise malformed(uri, f"expected at most {LONGEST_URI} printable characters without spaces and backslashes")
        if "::" in uri:
            raise malformed(uri, "chained URIs ('::') are not supported; give the URI of the file itself")
        scheme, separator, rest = uri.partition("://")
        if not separator or not scheme.isalnum():
            raise malformed(uri, "expected a URI such as 's3://bucket/data.npz'")
        if scheme.lower() == "local":
            raise malformed(uri, "write a folder on the service's machine as 'file:///folder'")
        # In a web address a question mark begins the query; in other URIs it is part of a glob.
        path, _, query = rest.partition("?") if scheme.lower() in WEB else (rest, "", "")
        place, _, path = path.partition("/")
        if "@" in place or "#" in rest or any(letter in place for letter in _GLOB):
            raise malformed(uri, "expected a URI without user, password and fragment, and a host without wildcards")
        segments = tuple(path.split("/"))
        _check_segments(uri, segments)
        if place and scheme.lower() == FOLDER:
            raise malformed(uri, "a folder on the service's machine has no host; write 'file:///folder'")
        return cls(scheme.lower(), place.lower() if scheme.lower() in WEB else place, segments, query)

    @classmethod
    def of_file(cls, uri: str) -> "SourceAddress":
        """Split the URI of one file, which a glob has found: its name may have any characters.

        Raises BadSource for segments that could lead to another folder.
        """
        scheme, _, rest = uri.partition("://")
        place, _, path = rest.partition("/")
        segments = tuple(path.split("/"))
        if any(segment in ("", ".", "..") for segment in segments):
            raise malformed(uri, "it must name one file, without empty segments, '.' and '..'")
        return cls(scheme.lower(), place, segments)

    @property
    def path(self) -> str:
        """The path of a file or folder on this machine."""
        return "/" + "/".join(self.segments)

    @property
    def fixed(self) -> str:
        """The path up to its first segment with a wildcard."""
        steps = itertools.takewhile(lambda segment: not any(letter in segment for letter in _GLOB), self.segments)
        return "/" + "/".join(steps)

    @property
    def is_glob(self) -> bool:
        """Whether the path has wildcards; a web address has none."""
        return self.scheme not in WEB and any(letter in segment for segment in self.segments for letter in _GLOB)

    def holds(self, address: "SourceAddress") -> bool:
        """Return whether an address is this one or below it. Segments are compared as a whole."""
        root = self.segments[:-1] if self.segments[-1] == "" else self.segments
        return (self.scheme, self.place) == (address.scheme, address.place) and address.segments[: len(root)] == root


def malformed(uri: str, reason: str) -> BadSource:
    """Return the error for a malformed URI."""
    return BadSource("uri_malformed", f"{quoted(uri)} is not a valid URI: {reason}")


def quoted(uri: str) -> str:
    """Return the URI for a message, without its query, which may contain a signature."""
    without_query = uri.partition("?")[0] if uri.lower().startswith(WEB) else uri
    return repr(without_query if len(without_query) <= 200 else without_query[:200] + "…")


def _check_segments(uri: str, segments: Sequence[str]) -> None:
    for segment in segments:
        decoded = unquote(segment)
        # Some servers read the text after a semicolon as a parameter.
        if decoded.partition(";")[0] in (".", "..") or "/" in decoded or "\\" in decoded or "\0" in decoded:
            raise malformed(uri, "segments such as '.', '..' or an encoded slash are not allowed; write the whole path")
        if "**" in segment:
            raise malformed(uri, "the wildcard '**' is not allowed; name the folder")
    if "" in segments[:-1]:
        raise malformed(uri, "the path has an empty segment ('//')")
