"""The progress line of a job in a terminal, and no line elsewhere.

`test_notebook` tests the line in a notebook.
"""

from typing import Any

import pytest
from rich.console import Console

from unitrank.client import progress
from unitrank_schemas.jobs import Job

STATE = {
    "id": "j",
    "status": "running",
    "attempt": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "request": {"model": "m", "layer": "1", "dataset": "d", "methods": ["gradient"]},
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
    "progress": {"done": 3200, "total": 40000, "unit": "rows", "stage": "attribution", "eta": 4.2},
}


def job(**changed: Any) -> Job:
    import json

    return Job.model_validate_json(json.dumps(STATE | changed))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "job j: running, attribution, 3,200 of 40,000 rows, about 4 s left"),
        ({"status": "queued", "progress": None, "position": 2}, "job j: queued, 2 jobs before it"),
        ({"status": "queued", "progress": None, "position": 0}, "job j: queued"),
        ({"progress": STATE["progress"] | {"total": 0, "eta": None, "stage": "loading"}}, "job j: running, loading"),  # type: ignore[operator]
        ({"status": "succeeded"}, "job j: succeeded"),
    ],
)
def test_line_when_a_job_has_a_state_then_shows_it(changed: dict[str, Any], line: str) -> None:
    assert progress.line_of(job(**changed)) == line


def test_watching_when_there_is_no_terminal_then_displays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with progress.watching("j", quiet) as watch:
            assert watch is None

    assert capsys.readouterr() == ("", "")


def test_watching_when_in_a_terminal_then_one_line_changes_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, record=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda **options: console)
    with progress.watching("j", quiet=False) as watch:
        assert watch is not None
        watch(job())
        watch(job(status="succeeded"))

    assert "\n\n" not in console.export_text()
