"""The one way for an uploaded `.pt2` into torch: vetted as plain bytes, written anew, and only then loaded."""

from unitrank_engine.archive.description.operators import let_in
from unitrank_engine.archive.errors import ArchiveError
from unitrank_engine.archive.loading import load
from unitrank_engine.archive.vetting import clean

__all__ = ["ArchiveError", "clean", "let_in", "load"]
