"""Changes a module for its export. At the end, the module is as it was.

`changes` makes all changes, `wrappers` takes off wrappers, and `signature` replaces `forward`.
"""

from unitrank_engine.models.exporting.preparation.changes import prepared
from unitrank_engine.models.exporting.preparation.signature import plain_forward, takes_any_keyword, without_caches

__all__ = ["plain_forward", "prepared", "takes_any_keyword", "without_caches"]
