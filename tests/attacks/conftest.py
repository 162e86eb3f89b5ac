"""One honest archive, to be forged."""

from tests.engine.archive.conftest import entries, saved

__all__ = ["entries", "saved"]
