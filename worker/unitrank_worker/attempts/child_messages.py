"""Checks the messages of a child that runs a job: the code of a model may control the child."""

from unitrank_schemas.base import Json
from unitrank_schemas.jobs import Progress
from unitrank_schemas.problems import JobProblem
from unitrank_store.jobs.record import Status
from unitrank_worker.process.channel import Closed, Message

PROBLEM_CHARACTERS = 1 << 20
"""Longest problem that a child may send, as JSON."""
MOST_CHARACTERS = 256
"""A message with a longer stage or unit is malformed."""
MOST_RANGES = 10_000_000
"""Largest number of ranges of a pass."""
MOST_ROWS = 1 << 40
"""Largest number of rows of a range."""


def checked_progress(progress: Json) -> Json:
    """The progress, as it is. Raises ValueError if it is malformed."""
    checked = Progress.model_validate(progress)
    if max(len(checked.stage), len(checked.unit)) > MOST_CHARACTERS:
        raise ValueError(f"stage or unit of the progress have more than {MOST_CHARACTERS} characters")
    return progress


def ending_of(message: Message) -> tuple[Status, Json | None]:
    """The status and the problem in a child's last message of an attempt. Raises Closed."""
    status, problem = message.content["end"], message.content.get("problem")
    if status not in ("succeeded", "failed", "cancelled"):
        raise Closed("the child sent a malformed end")
    if status != "failed":
        return status, None
    try:
        if len(JobProblem.model_validate(problem).model_dump_json()) > PROBLEM_CHARACTERS:
            raise ValueError(f"the problem has more than {PROBLEM_CHARACTERS} characters")
    except (ValueError, RecursionError) as error:
        raise Closed("the child sent a malformed problem") from error
    return status, problem


def checked_pass(content: Json) -> Json:
    """The pass over rows that an owner's child asks for. Raises Closed if it is malformed."""
    stage, ranges = content["pass"], content.get("ranges")
    is_stage = isinstance(stage, str) and len(stage) <= MOST_CHARACTERS
    # A bool is an int in Python.
    if not is_stage or type(ranges) is not int or not 1 <= ranges <= MOST_RANGES:
        raise Closed("the child sent a malformed pass")
    return {"pass": stage, "ranges": ranges}


def checked_rows(rows: object) -> int:
    """The number of rows of a range. Raises ValueError if it is malformed."""
    if type(rows) is not int or not 0 <= rows <= MOST_ROWS:
        raise ValueError(f"{rows!r:.80} is not a number of rows")
    return rows
