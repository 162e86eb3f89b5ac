"""The one error of this room; its code is stable, its detail says what was wrong, what was got and what would be right.

not_an_archive         no zip that torch.export.save wrote
archive_entry_refused  an entry of the zip that no exported program needs, or a dangerous way to store one
archive_too_large      more entries, nodes or bytes of description than any ordinary network has
pickle_refused         weights or constants that only a pickle can hold
schema_version         written by a torch whose description of programs differs from ours
program_refused        the description of the program is not one that torch.export writes
operator_refused       a node calls what is not on the list of operators
expression_refused     a symbolic size that is more than arithmetic on symbols
container_refused      inputs or outputs in other containers than tuple, list and dict
weights_refused        the bytes of a tensor disagree with its shape and type
not_loadable           everything passed, and torch still cannot build the program
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
    """The archive is not let in."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def shown(value: object) -> str:
    """A value of the upload for a message: ASCII, escaped, at most 100 characters."""
    text = ascii(value)
    return text if len(text) <= 100 else text[:97] + "..."
