"""A whole job on a server whose user has exactly the documented ACL."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stores.conftest import environment_of, use_everything
from tests.support.processes import run, short_folder
from tests.support.servers.redis_server import HEALTHY, redis_server, with_user
from unitrank_store.redis.connection import connect
from unitrank_store.redis.permissions import acl_command

pytestmark = pytest.mark.check
RULES = acl_command().partition(">PASSWORD ")[2]
WITHOUT_DANGEROUS = "~unitrank:* ~rq:* +@all -@dangerous"
EXPECTED = {"client|setinfo"}
"""redis-py sends this command on each connection, and goes on if it is forbidden."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(RULES, EXPECTED, id="exact"),
        pytest.param(WITHOUT_DANGEROUS, EXPECTED | {"info"}, id="issue", marks=pytest.mark.slow),
    ],
)
def test_acl_when_jobs_run_from_upload_to_deletion_then_it_forbids_nothing_needed(
    rules: str, expected: set[str], tmp_path: Path
) -> None:
    with short_folder() as folder, redis_server(folder / "server", *HEALTHY) as url, connect(url) as operator:
        user = with_user(url, operator, rules)
        log = use_everything(user, tmp_path)
        outputs = [run("keys", *words, environment=environment_of(user)) for words in (["create", "me"], ["list"])]
        # The server lists the commands that it has forbidden. Any: redis-py types no reply.
        entries: Any = operator.acl_log()

    assert [each.returncode for each in outputs] == [0, 0]
    assert {each["object"] for each in entries} <= expected
    assert "s3kret" not in log + "".join(each.stdout + each.stderr for each in outputs)
    assert "Traceback" not in log
