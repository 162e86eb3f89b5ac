"""The error of this chapter. Its `code` stays the same across versions; its `detail` is for people.

not_an_archive         the file is not a zip that torch.export.save wrote
archive_entry_refused  an entry does not belong to an exported program, or is stored dangerously
archive_too_large      more entries, nodes or bytes of description than any ordinary network has
pickle_refused         weights or constants that only a pickle can hold
schema_version         the description's version belongs to another version of torch
program_refused        the description of the program is not one that torch.export writes
operator_refused       a node calls an operator that is not on the allow-list
expression_refused     a symbolic size that is more than arithmetic on symbols
container_refused      inputs or outputs in containers other than tuple, list and dict
weights_refused        the bytes of a tensor disagree with its shape and type
not_loadable           the archive passed every check, and torch cannot build the program

An archive that torch can build is refused with an EngineError, which also uses `program_refused`
and `weights_refused`, and these codes:

shape_not_as_traced    an operator gives another shape, type or stride than torch traced for it
unwritten_memory       an operator leaves a part of its result unwritten
"""

from typing import Literal

Code = Literal[
    "not_an_archive",
    "archive_entry_refused",
    "archive_too_large",
    "pickle_refused",
    "schema_version",
    "program_refused",
    "operator_refused",
    "expression_refused",
    "container_refused",
    "weights_refused",
    "not_loadable",
]


class ArchiveError(Exception):
    """The archive is refused.

    `code`: the reason, one of the codes above.
    `detail`: the fault, the value that was given, and the values that are accepted.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def escaped(value: object) -> str:
    """A value of the upload as text for a message: ASCII, escaped, at most 100 characters."""
    text = ascii(value)
    return text if len(text) <= 100 else text[:97] + "..."
