"""`rediss://` with each documented option, on a server that accepts TLS only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.e2e.stores.conftest import use_everything
from tests.support.processes import short_folder
from tests.support.servers.redis_server import HEALTHY, debian_redis, redis_server
from unitrank.addresses import claim_port
from unitrank_store.redis.connection import connect
from unitrank_store.redis.faults import find_faults
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check


@dataclass(frozen=True)
class Tls:
    """A server with TLS. `address`: its address without options. `folder`: the certificates."""

    address: str
    folder: Path

    def url(self, *options: str) -> str:
        """The address with the options; `{}` in an option is the folder of the certificates."""
        return f"{self.address}?{'&'.join(option.format(self.folder) for option in options)}"


CA = "ssl_ca_certs={}/ca.crt"
CLIENT = ("ssl_certfile={}/client.crt", "ssl_keyfile={}/client.key")


def openssl(*words: str, folder: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("openssl is not on PATH")
        pytest.skip("openssl is not on PATH")
    subprocess.run([program, *words], cwd=folder, check=True, capture_output=True)


def make_certificates(folder: Path) -> None:
    """A certificate authority, a server's certificate for `localhost`, and a client's."""
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt", folder=folder)
    for name in ("localhost", "client"):
        extension = ("-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=CA:FALSE")
        authority = ("-CA", "ca.crt", "-CAkey", "ca.key")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        openssl("req", "-x509", *key, *authority, *extension, "-subj", f"/CN={name}", *files, folder=folder)
    openssl("rsa", "-aes256", "-in", "client.key", "-out", "locked.key", "-passout", "pass:hunter22", folder=folder)


@contextmanager
def tls_server(clients: str = "no") -> Iterator[Tls]:
    """A server with TLS and a password. `clients`: whether clients need certificates."""
    program = debian_redis()
    with short_folder() as folder:
        make_certificates(folder)
        port = claim_port("127.0.0.1", 0)
        files = ("--tls-cert-file", "localhost.crt", "--tls-key-file", "localhost.key", "--tls-ca-cert-file", "ca.crt")
        paths = [word if word.startswith("--") else str(folder / word) for word in files]
        flags = [*HEALTHY, "--tls-port", str(port), "--tls-auth-clients", clients, *paths, "--requirepass", "pass/word"]
        with redis_server(folder / "server", *flags, program=program):
            yield Tls(f"rediss://default:pass%2Fword@localhost:{port}/0", folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Tls]:
    with tls_server() as running:
        yield running


def pings(url: str) -> bool:
    checked = Settings(redis_url=url).redis_url
    assert checked is not None
    with connect(checked) as connection:
        return find_faults(connection) == []


@pytest.mark.parametrize(
    "options",
    [
        (CA,),
        (CA, "ssl_check_hostname=true", "ssl_cert_reqs=required"),
        (CA, "db=3", "socket_timeout=20", "socket_connect_timeout=5", "socket_keepalive=true", "health_check_interval=10"),
        (CA, "protocol=2"),
        (CA, "protocol=3"),
        ("ssl_cert_reqs=none", "ssl_check_hostname=false"),
    ],
)
def test_address_when_its_options_fit_the_server_then_connects(server: Tls, options: tuple[str, ...]) -> None:
    assert pings(server.url(*options))


def test_address_when_user_and_password_are_options_then_connects(server: Tls) -> None:
    _, _, host = server.address.partition("@")

    assert pings(f"rediss://{host}?{CA.format(server.folder)}&username=default&password=pass%2Fword")


@pytest.mark.parametrize("options", [(), ("ssl_check_hostname=false",)], ids=["nothing", "not the host"])
def test_address_when_its_certificates_do_not_fit_then_does_not_connect(server: Tls, options: tuple[str, ...]) -> None:
    with connect(server.url(*options)) as connection, pytest.raises(redis.exceptions.ConnectionError, match="certificate"):
        connection.ping()


def test_address_when_the_certificate_is_for_another_host_then_only_without_the_check_connects(server: Tls) -> None:
    elsewhere = Tls(server.address.replace("localhost", "127.0.0.1"), server.folder)

    with connect(elsewhere.url(CA)) as connection, pytest.raises(redis.exceptions.ConnectionError, match="certificate"):
        connection.ping()
    assert pings(elsewhere.url(CA, "ssl_check_hostname=false"))


def test_address_without_tls_does_not_connect(server: Tls) -> None:
    with connect(server.address.replace("rediss", "redis")) as connection, pytest.raises(redis.exceptions.ConnectionError):
        connection.ping()


def test_server_that_asks_for_a_clients_certificate_accepts_it_also_with_a_locked_key() -> None:
    with tls_server(clients="yes") as server:
        assert pings(server.url(CA, *CLIENT))
        assert pings(server.url(CA, CLIENT[0], "ssl_keyfile={}/locked.key", "ssl_password=hunter22"))
        with connect(server.url(CA)) as connection, pytest.raises(redis.exceptions.ConnectionError):
            connection.ping()


@pytest.mark.check
@pytest.mark.timeout(240)
def test_jobs_when_the_store_is_behind_tls_then_run_and_the_log_has_no_password(server: Tls, tmp_path: Path) -> None:
    log = use_everything(server.url(CA), tmp_path)

    assert "pass/word" not in log
    assert "pass%2Fword" not in log
