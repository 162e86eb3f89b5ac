"""What a model's manifest and a dataset's header decide about a request, before anything is run.

Pure functions: the service calls them when a job is posted, the worker when what the job waited for has become ready.
"""

from unitrank_schemas.checks.cost import passes
from unitrank_schemas.checks.defaults import completed, with_spacing
from unitrank_schemas.checks.table import checked
from unitrank_schemas.facts.facts import Facts, Flaw, RequestRejected
from unitrank_schemas.facts.wording import nearest, shown

__all__ = ["Facts", "Flaw", "RequestRejected", "checked", "completed", "nearest", "passes", "shown", "with_spacing"]
