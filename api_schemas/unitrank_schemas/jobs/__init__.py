"""Jobs: the request that a client posts, one file for each of its parts, and the job it gets."""

from unitrank_schemas.jobs.job import ENDED, DryRun, Estimate, Job, JobLinks, JobStatus, Progress
from unitrank_schemas.jobs.request import METADATA_BYTES, JobRequest, Place, Preprocess, Units, Webhook

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
