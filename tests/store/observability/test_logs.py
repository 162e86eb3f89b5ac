"""Logs: one line an event in either form, with ids and without secrets.

Each test starts a process, because the logging configuration is the process's.
"""

import json
import subprocess
import sys

import pytest

BEFORE = """
import logging, sys, structlog
from unitrank_store.observability.logs import configure
configure(sys.argv[1])
log = structlog.get_logger()
"""


def lines(form: str, program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", BEFORE + program, form], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_line_when_for_machines_then_is_json_with_the_bound_ids() -> None:
    program = """
with structlog.contextvars.bound_contextvars(request_id="r", job="j"):
    log.info("ended", status="succeeded")
    logging.getLogger("rq.worker").warning("from %s", "elsewhere")
"""
    own_line, library_line = (json.loads(line) for line in lines("json", program))

    assert (own_line["event"], own_line["status"], own_line["level"], own_line["request_id"], own_line["job"]) == (
        "ended",
        "succeeded",
        "info",
        "r",
        "j",
    )
    assert (library_line["event"], library_line["level"], library_line["request_id"]) == ("from elsewhere", "warning", "r")


def test_line_when_for_people_then_has_the_same() -> None:
    (line,) = lines("people", 'log.bind(job="j").warning("lost", worker="w")')

    assert all(part in line for part in ("warning", "lost", "job=j", "worker=w"))


def test_line_when_another_library_only_informs_then_is_not_written() -> None:
    assert lines("people", 'logging.getLogger("rq.worker").info("x"); logging.getLogger("fsspec").info("x"); log.debug("x")') == []


SECRETS = {
    "header": ("Authorization: Bearer hunter2-abc", "hunter2"),
    "basic": ("{'authorization': 'Basic aHVudGVyMg=='}", "aHVudGVyMg"),
    "key": ("the key unitrank_0123456789ab_hunter2_-x was sent", "hunter2"),
    "address": ("redis://user:hunter2@host:6379 does not answer", "hunter2"),
    "option": ("rediss://host:6379/0?username=user&password=hunter2&db=1 does not answer", "hunter2"),
    "key's password": ("rediss://host:6379/0?ssl_password=hunter2", "hunter2"),
    "address without user": ("redis://:hunter2@host", "hunter2"),
}


@pytest.mark.parametrize("form", ["json", "people"])
@pytest.mark.parametrize("name", SECRETS)
def test_secret_when_it_gets_into_a_line_then_is_not_written(form: str, name: str) -> None:
    text, secret = SECRETS[name]
    program = f"""
log.warning({text!r})
log.warning("x", error={text!r}, nested={{"deep": [{text!r}]}})
logging.getLogger("uvicorn.error").error("%s", {text!r})
try:
    raise ValueError({text!r})
except ValueError:
    log.exception("failed")
"""
    written = "\n".join(lines(form, program))

    assert "failed" in written
    assert "ValueError" in written
    assert secret not in written


def test_line_when_it_has_colons_and_addresses_without_secrets_then_stays_as_it_is() -> None:
    text = "http://127.0.0.1:8000/v1/jobs/a:b and s3://bucket/x@y, key 0123456789ab, bearer"
    (line,) = lines("json", f"log.info({text!r})")

    assert json.loads(line)["event"] == text
