"""Jobs: the request that a client posts, one file for each of its parts, and the job it gets."""

from unitrank_schemas.facts.units import Groups, Labels, Units, axis_of, labels_of, unit_shape, units_in_words
from unitrank_schemas.jobs.job import (
    ENDED,
    DryRun,
    Estimate,
    Job,
    JobChange,
    JobLinks,
    JobStatus,
    JobSummary,
    Progress,
    job_summary,
)
from unitrank_schemas.jobs.request import (
    METADATA_BYTES,
    MOST_LAYERS,
    WILDCARD,
    JobRequest,
    Place,
    Preprocess,
    Webhook,
    checked_metadata,
)

__all__ = [
    "ENDED",
    "METADATA_BYTES",
    "MOST_LAYERS",
    "WILDCARD",
    "DryRun",
    "Estimate",
    "Groups",
    "Job",
    "JobChange",
    "JobLinks",
    "JobRequest",
    "JobStatus",
    "JobSummary",
    "Labels",
    "Place",
    "Preprocess",
    "Progress",
    "Units",
    "Webhook",
    "axis_of",
    "checked_metadata",
    "job_summary",
    "labels_of",
    "unit_shape",
    "units_in_words",
]
