"""Reads JSON text from a file piece by piece.

`json.loads` of a summary of 17 MiB needs 100 MiB, and holds Python's lock for 1.5 s, in which the
service answers nothing. Here each call parses one part of the text.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

DELIMITERS = frozenset(",:]} \t\r\n")
"""Characters that may follow a value."""
READ = 64 * 1024
"""Bytes that are read at a time."""


class JsonPieces:
    """JSON in a file, from its beginning to its end. The text must be valid.

    The caller reads each value of `members` and `elements` before the next one.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next."""
        for _ in self._parts("{", "}"):
            key: str = self.value()
            self._expect(":")
            yield key

    def elements(self) -> Iterator[None]:
        """Yield once for each element of the array that comes next."""
        return self._parts("[", "]")

    def at_object(self) -> bool:
        """Whether an object comes next."""
        return self._next() == "{"

    def value(self) -> Any:
        """Return the value that comes next. Any: JSON."""
        self._next()
        size = READ
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read(size):
                    raise
            else:
                # A number goes on behind the text that was read: 1 and 1. are the start of 1.5.
                if self._text[end : end + 1] in DELIMITERS or not self._read(size):
                    self._at = end
                    return value
            size *= 2

    def _parts(self, first: str, last: str) -> Iterator[None]:
        self._expect(first)
        if self._next() == last:
            self._at += 1
            return
        while True:
            yield
            if self._next() == last:
                self._at += 1
                return
            self._expect(",")

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise ValueError(f"the JSON text has {self._next()!r} where {character!r} must follow")
        self._at += 1

    def _next(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(READ):
                return ""

    def _read(self, size: int) -> bool:
        """Read more of the file, and forget the text before the current place."""
        data = self._file.read(size)
        self._text, self._at = self._text[self._at :] + self._bytes.decode(data), 0
        return bool(data)
