"""Webhooks: the body that is posted when a job has ended, and the attempts to deliver it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs import JobStatus


class Announcement(Schema):
    """The body of a webhook. GET the job for more."""

    id: str = Field(description="Id of the job.")
    status: JobStatus


class DeliveryAttempt(Schema):
    """One POST to a webhook's URL."""

    at: datetime
    status: int | None = Field(None, description="HTTP status of the answer. Any 2xx is a success; 410 ends the attempts.")
    error: str | None = Field(None, description="The reason, if there was no answer.")
    seconds: float = Field(description="Duration of the attempt.")


class Delivery(Schema):
    """The delivery of a job's end to one URL."""

    id: str = Field(description="Value of the header `webhook-id`, the same in every attempt.")
    url: str
    state: Literal["pending", "delivered", "failed"]
    attempts: list[DeliveryAttempt] = Field(description="The earliest first.")
    next_at: datetime | None = Field(
        None, description="Time of the next attempt; null before the job has ended, and after the last attempt."
    )
