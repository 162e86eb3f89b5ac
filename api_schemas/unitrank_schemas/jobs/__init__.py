"""Jobs: what a client asks for, and the job that it gets; one file for each part of a request."""

from unitrank_schemas.jobs.request import (
    ENDED,
    METADATA_BYTES,
    DryRun,
    Estimate,
    Job,
    JobLinks,
    JobRequest,
    JobStatus,
    Place,
    Preprocess,
    Progress,
    Units,
    Webhook,
)

__all__ = [
    "ENDED",
    "METADATA_BYTES",
    "DryRun",
    "Estimate",
    "Job",
    "JobLinks",
    "JobRequest",
    "JobStatus",
    "Place",
    "Preprocess",
    "Progress",
    "Units",
    "Webhook",
]
