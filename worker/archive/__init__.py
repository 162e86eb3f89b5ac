"""The one way for an uploaded `.pt2` into torch: vetted as plain bytes, written anew, and only then loaded."""

from worker.archive.cleaning import clean
from worker.archive.errors import ArchiveError
from worker.archive.loading import load
from worker.archive.operators import let_in

__all__ = ["ArchiveError", "clean", "let_in", "load"]
