"""The jobs that a list shows, and their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import Status

Sort = Literal["created_at", "area"]


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """The jobs of a list; None and empty values select all jobs.

    `model`, `dataset`: name of the content, with or without its digest.
    `verdict`: the overall verdict of the best ranking; also `robust` or `fragile`, for a verdict
    that is better than random with or without doubts.
    `metadata`: key → value as text; a list matches with each of its elements.
    `text`: words that must all be in the title, tags, notes, names or id of the job.
    `sort`: jobs without an area come last, the newest first.
    """

    status: Status | None = None
    model: str | None = None
    layer: str | None = None
    dataset: str | None = None
    verdict: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    sort: Sort = "created_at"
    ascending: bool = False

    @property
    def model_name(self) -> str | None:
        return None if self.model is None else self.model.partition("@")[0]

    def arguments(self) -> Json:
        """Return the conditions as the script `match_jobs.lua` takes them."""
        conditions = {
            "status": self.status,
            "model": self.model,
            "layer": self.layer,
            "dataset": self.dataset,
            "verdict": self.verdict,
        }
        return {name: value for name, value in conditions.items() if value is not None} | {
            "metadata": dict(self.metadata),
            "words": self.text.casefold().split(),
        }
