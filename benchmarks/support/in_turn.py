"""A client's transport that sends each request to the next of several services."""

import itertools
from collections.abc import Callable, Sequence

import httpx


class InTurn(httpx.BaseTransport):
    """Sends each request to the next service, as a proxy in its default mode does.

    A service that refuses the connection has not read the request: the next service gets it.
    `urls`: returns the addresses of the services; each request reads them again.
    """

    def __init__(self, urls: Callable[[], Sequence[str]]) -> None:
        self._urls = urls
        self._turn = itertools.count().__next__
        self._connections = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        urls = self._urls()
        for _ in urls:
            address = httpx.URL(urls[self._turn() % len(urls)])
            request.url = request.url.copy_with(host=address.host, port=address.port)
            try:
                return self._connections.handle_request(request)
            except httpx.ConnectError:
                continue
        raise httpx.ConnectError("all services refuse the connection", request=request)

    def close(self) -> None:
        self._connections.close()
