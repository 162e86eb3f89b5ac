"""Sources of content: a real S3 server, and a web server that can be slow and redirect."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import pytest

from tests.support.servers.loopback import served


@dataclass
class Bucket:
    """A bucket of moto's server on loopback.

    `environment`: variables for S3 drivers. `reads`: key and bytes of each GET of an object.
    """

    url: str
    name: str = "sets"
    environment: dict[str, str] = field(default_factory=dict)
    reads: list[tuple[str, int]] = field(default_factory=list)

    def put(self, key: str, content: bytes) -> str:
        """Store an object, and return its URI."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)
        return f"s3://{self.name}/{key}"

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    @property
    def bytes_read(self) -> int:
        """Bytes of all objects and ranges that were read since `reads` was cleared."""
        return sum(size for _, size in self.reads)

    def counted(self, application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """The server's application, which notes each GET of an object."""

        def call(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            pieces = list(application(environ, start))
            key = environ["PATH_INFO"].removeprefix(f"/{self.name}").lstrip("/")
            if environ["REQUEST_METHOD"] == "GET" and key:
                self.reads.append((key, sum(map(len, pieces))))
            return pieces

        return call

    def create(self) -> None:
        self._client.create_bucket(Bucket=self.name)

    @cached_property
    def _client(self):  # type: ignore[no-untyped-def]  # boto3 has no types
        import boto3

        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


@contextmanager
def s3() -> Iterator[Bucket]:
    """A server with an empty bucket. Without moto the test is skipped, or fails where CI is set."""
    if not os.environ.get("CI"):
        pytest.importorskip("moto.server", reason="no S3 server to test on")
    from moto.server import ThreadedMotoServer

    # A driver keeps the address of the server that the test before this one had.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    bucket = Bucket(url, environment=settings)
    try:
        bucket.create()
        werkzeug_server: Any = server._server
        werkzeug_server.app = bucket.counted(werkzeug_server.app)
        yield bucket
    finally:
        server.stop()


class Web:
    """A web server. `pages`: path → bytes; `moved`: path → URL of a redirect.

    Half of a page in `slow` is sent at once. The other half is sent when `go` is set.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.slow: set[str] = set()
        self.go = threading.Event()
        self.requests: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name that the base class expects
                web.requests.append(self.path)
                path = self.path.partition("?")[0]
                if path in web.moved:
                    self.send_response(302)
                    self.send_header("Location", web.moved[path])
                    self.end_headers()
                elif path in web.pages:
                    self._send(web.pages[path], path in web.slow)
                else:
                    self.send_error(404)

            def _send(self, content: bytes, slow: bool) -> None:
                self.send_response(200)
                self.end_headers()
                half = len(content) // 2 if slow else len(content)
                self.wfile.write(content[:half])
                self.wfile.flush()
                if slow:
                    web.go.wait(60)
                    self.wfile.write(content[half:])

            def log_message(self, *arguments: object) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def web() -> Iterator[Web]:
    """A web server on loopback."""
    serving = Web()
    with served(serving.server):
        try:
            yield serving
        finally:
            serving.go.set()
