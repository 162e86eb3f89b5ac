"""`unitrank doctor`: the store that UNITRANK_REDIS_URL names, and the variables."""

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from tests.support.processes import short_folder
from tests.support.servers.redis_server import redis_server, with_user
from unitrank.cli import doctor
from unitrank.cli.commands.results import app
from unitrank.cli.doctor import STORE_ACL, Finding, of_store, of_variables
from unitrank_store.redis.connection import connect
from unitrank_store.redis.permissions import acl_command

RULES = acl_command().partition(">PASSWORD ")[2]


@pytest.fixture
def use_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the store's address for the command."""
    return lambda url: monkeypatch.setenv("UNITRANK_REDIS_URL", url)


@pytest.fixture
def bad_acl(use_store: Callable[[str], None]) -> Iterator[None]:
    """A store that evicts keys and keeps no log, and whose user lacks parts of the ACL."""
    with short_folder() as folder, redis_server(folder / "server", "--maxmemory-policy", "allkeys-lru") as url:
        with connect(url) as operator:
            use_store(with_user(url, operator, f"{RULES} -hset resetkeys ~unitrank:*"))
        yield


@pytest.mark.usefixtures("bad_acl")
def test_store_when_something_is_wrong_then_each_fault_and_the_needed_acl_are_named() -> None:
    findings = list(of_store())

    assert [(each.subject, each.ok, each.required) for each in findings] == [
        ("store", True, True),
        ("store: acl", False, True),
        ("store: acl", False, True),
        ("store: eviction", False, False),
        ("store: persistence", False, False),
        (STORE_ACL, True, False),
    ]
    assert "the ACL forbids the commands HSET" in findings[1].detail
    assert "the ACL forbids the keys rq:*" in findings[2].detail
    assert findings[-1].detail == acl_command()
    assert "s3kret" not in str(findings)


@pytest.mark.usefixtures("bad_acl")
def test_doctor_when_people_read_it_then_the_acl_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "of_installation", list)
    done = CliRunner().invoke(app, ["doctor", "--url", "http://127.0.0.1:1"])

    assert acl_command() in done.stderr.splitlines()
    assert "s3kret" not in done.output


def test_store_when_the_password_is_wrong_then_the_acl_is_still_printed(use_store: Callable[[str], None]) -> None:
    with short_folder() as folder, redis_server(folder / "server", "--requirepass", "right") as url:
        use_store(f"{url}?password=hunter2")
        store, acl = of_store()

    assert (store.ok, acl.detail) == (False, acl_command())
    assert "rejects the user name or the password" in store.detail
    assert "hunter2" not in store.detail


def test_store_when_none_is_named_then_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNITRANK_REDIS_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)

    assert list(of_store()) == []


def test_store_when_its_address_is_malformed_then_the_settings_are_named(use_store: Callable[[str], None]) -> None:
    use_store("redis+sentinel://:hunter2@host:26379/main")
    (finding,) = of_store()

    assert (finding.subject, finding.ok) == ("settings", False)
    assert "redis+sentinel:// is not supported" in finding.detail
    assert "hunter2" not in finding.detail


def test_variables_when_one_is_misspelt_then_it_is_named() -> None:
    expected = Finding(
        "UNITRANK_REDISURL", False, "no process reads this variable; did you mean UNITRANK_REDIS_URL?", required=False
    )

    assert list(of_variables(["UNITRANK_REDISURL", "UNITRANK_PORT"])) == [expected]
