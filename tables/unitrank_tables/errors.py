"""Errors of the tables.

TableError
└── BadTable    the bytes cannot be read as a table (carries a code and, for inline data, a pointer)
"""


class TableError(Exception):
    """Reading or writing a table failed."""


class BadTable(TableError):
    """The bytes cannot be read as a table.

    `code`: the stable code of the problem. `detail`: the value that is wrong, and what is accepted.
    `pointer`: a JSON Pointer to the wrong value of an inline dataset; empty for files.
    """

    def __init__(self, code: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.pointer = pointer
