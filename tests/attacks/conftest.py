"""One honest archive, to be forged."""

from tests.worker.archive.conftest import entries, saved

__all__ = ["entries", "saved"]
