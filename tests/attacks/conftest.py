"""The valid archive that the attacks change."""

from tests.engine.archive.conftest import entries, saved

__all__ = ["entries", "saved"]
