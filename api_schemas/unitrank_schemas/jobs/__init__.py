"""Jobs: the request that a client posts, one file for each of its parts, and the job it gets."""

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
from unitrank_schemas.jobs.request import METADATA_BYTES, JobRequest, Place, Preprocess, Units, Webhook, checked_metadata

__all__ = [
    "ENDED",
    "METADATA_BYTES",
    "DryRun",
    "Estimate",
    "Job",
    "JobChange",
    "JobLinks",
    "JobRequest",
    "JobStatus",
    "JobSummary",
    "Place",
    "Preprocess",
    "Progress",
    "Units",
    "Webhook",
    "checked_metadata",
    "job_summary",
]
