"""Somebody who listens to webhooks: a web server on loopback that notes what is posted and answers as it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.servers.loopback import served


@dataclass(frozen=True)
class Heard:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body's JSON, which may be anything."""
        return json.loads(self.body)


class Ear:
    """Answers 204, or first of all what `answers` says; while `mute` is set it does not answer at all."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int] = []
        self.mute = False
        self.go = threading.Event()
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the base class wants it so
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                ear.heard.append(Heard(self.path, headers, body))
                if ear.mute:
                    ear.go.wait(60)
                    return
                self.send_response(ear.answers.pop(0) if ear.answers else 204)
                self.send_header("Location", f"{ear.url}/elsewhere")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def ear() -> Iterator[Ear]:
    """As long as the block lasts."""
    listening = Ear()
    with served(listening.server):
        try:
            yield listening
        finally:
            listening.go.set()
