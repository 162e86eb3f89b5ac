"""The questions that a job asks while it runs, and their answers: the job's log."""

import hashlib
import json
from typing import NamedTuple

from unitrank_schemas.base import Json

QUESTIONS = ("pass", "find_parts")
"""The first key of a message that is a question."""


class Answer(NamedTuple):
    """The answer to a question of the owner, for the replicas that ask the same question.

    `question`: the question's digest. `content`, `payload`: the message for the child.
    """

    question: str
    content: Json
    payload: bytes = b""


def is_question(content: Json) -> bool:
    """Whether a child's message is a question."""
    return next(iter(content), "") in QUESTIONS


def question_digest(content: Json) -> str:
    """A digest of a question. A replica must ask what the owner has asked."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
