"""Webhooks: what is posted when a job has ended, and what came of it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs import JobStatus


class Announcement(Schema):
    """The body of a webhook: ask for the job to know more."""

    id: str = Field(description="The job's.")
    status: JobStatus


class DeliveryAttempt(Schema):
    """One POST."""

    at: datetime
    status: int | None = Field(None, description="Of the answer; any 2xx is a success, 410 ends the attempts.")
    error: str | None = Field(None, description="Why there was no answer.")
    seconds: float


class Delivery(Schema):
    """One URL that hears of the job's end."""

    id: str = Field(description="The `webhook-id` of every attempt.")
    url: str
    state: Literal["pending", "delivered", "failed"]
    attempts: list[DeliveryAttempt] = Field(description="The first one first.")
    next_at: datetime | None = Field(None, description="When it is tried again; null: when the job ends, or never.")
