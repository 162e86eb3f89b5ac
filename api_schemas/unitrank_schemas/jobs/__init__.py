"""Jobs: what a client asks for, and the job that it gets; one file for each part of a request."""

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
