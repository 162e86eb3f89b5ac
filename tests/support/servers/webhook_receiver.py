"""A receiver of webhooks: a web server on loopback that keeps each POST."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.servers.loopback import served


@dataclass(frozen=True)
class ReceivedPost:
    """A POST that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON. Any: a test may post any JSON."""
        return json.loads(self.body)


class WebhookReceiver:
    """Answers with the statuses in `answers`, then with 204; while `mute` is set, with nothing."""

    def __init__(self) -> None:
        self.posts: list[ReceivedPost] = []
        self.answers: list[int] = []
        self.mute = False
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that the base class expects
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append(ReceivedPost(self.path, headers, body))
                if receiver.mute:
                    receiver.closing.wait(60)
                    return
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """A receiver that runs during the block."""
    receiver = WebhookReceiver()
    with served(receiver.server):
        try:
            yield receiver
        finally:
            receiver.closing.set()
