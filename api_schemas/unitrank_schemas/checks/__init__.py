"""The checks of a request against a model's manifest and a dataset's header.

They are pure functions. The service calls them when a job is posted. The worker calls them again if
the model or the dataset was not ready then.
"""

from unitrank_schemas.checks.cost import passes
from unitrank_schemas.checks.defaults import completed, with_spacing
from unitrank_schemas.checks.table import checked
from unitrank_schemas.facts.facts import Facts, Flaw, RequestRejected
from unitrank_schemas.facts.wording import excerpt, nearest

__all__ = ["Facts", "Flaw", "RequestRejected", "checked", "completed", "excerpt", "nearest", "passes", "with_spacing"]
