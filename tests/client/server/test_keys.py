"""`unitrank keys`, with and without a running server."""

import json
import os

import pytest

from tests.support.processes import run, short_folder, wait_until_gone

pytestmark = pytest.mark.check

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}


def test_keys_when_no_server_runs_then_one_is_started_for_the_moment() -> None:
    with short_folder() as state:
        environment = {**ENVIRONMENT, "UNITRANK_STATE": str(state)}
        process = run("keys", "create", "me", "--scope", "read", environment=environment)
        listed = run("keys", "list", environment=environment)
        id = listed.stdout.split("\t")[0]
        revoked = run("keys", "revoke", id, environment=environment)
        again = run("keys", "revoke", id, environment=environment)

        assert process.stdout.startswith(f"unitrank_{id}_")
        assert listed.stdout == f"{id}\tme\tread\tdefault\n"
        assert (revoked.returncode, again.returncode) == (0, 2)
        wait_until_gone(str(state))


def test_keys_when_the_store_is_named_then_that_one_is_used(redis_url: str) -> None:
    environment = {**ENVIRONMENT, "REDIS_URL": redis_url}
    process = run("keys", "create", "me", environment=environment)

    assert process.returncode == 0
    assert run("keys", "list", environment=environment).stdout.endswith("\tme\tmodels,read,write\tdefault\n")


def test_keys_when_programs_ask_then_stdout_is_json_and_people_read_stderr(redis_url: str) -> None:
    environment = {**ENVIRONMENT, "REDIS_URL": redis_url}
    process = run("keys", "create", "me", "--scope", "read", "--limit", "3", "--json", environment=environment)
    key = json.loads(process.stdout)
    (listed,) = json.loads(run("keys", "list", "--json", environment=environment).stdout)
    webhook = run("keys", "webhook-secret", key["id"], "--json", environment=environment)
    revoked = run("keys", "revoke", key["id"], "--json", environment=environment)

    assert key["secret"].startswith(f"unitrank_{key['id']}_")
    assert listed == {name: value for name, value in key.items() if name != "secret"}
    assert (key["scopes"], key["limit"], key["created_at"][-1]) == (["read"], 3, "Z")
    assert key["secret"] not in process.stderr
    assert json.loads(webhook.stdout).keys() == {"id", "secret"}
    assert (json.loads(revoked.stdout), "is revoked" in revoked.stderr) == ({"id": key["id"], "revoked": True}, True)
