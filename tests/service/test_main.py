"""The start of the service's process."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from unitrank_service.__main__ import main


@pytest.fixture(autouse=True)
def not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` ends before it serves, and leaves the log of the tests as it is."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    monkeypatch.setattr("unitrank_store.observability.logs.configure", lambda form: None)
    monkeypatch.setattr("unitrank_service.__main__.CHECK_SECONDS", 0.1)


def test_main_when_a_variable_is_misspelt_then_names_it_and_not_its_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNITRANK_WEBHOOK_HOST", "hunter2")
    with capture_logs() as lines:
        main(["--redis-url", f"unix://{tmp_path}/none"])

    (line,) = (line for line in lines if line["event"] == "unknown variable")
    assert (line["name"], line["nearest"]) == ("UNITRANK_WEBHOOK_HOST", "UNITRANK_WEBHOOK_HOSTS")
    assert "hunter2" not in str(lines)


def test_main_when_the_store_does_not_answer_yet_then_tells_that_it_was_not_checked(tmp_path: Path) -> None:
    with capture_logs() as lines:
        main(["--redis-url", f"unix://{tmp_path}/none"])

    assert ("store not checked", "the store does not answer") in [(line["event"], line.get("reason")) for line in lines]
