"""Clients that post the orders, cancel some jobs, and retry while the service does not answer."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import httpx

from benchmarks.chaos.orders import Order
from benchmarks.support.in_turn import InTurn
from benchmarks.support.uploads import BYTES

CLIENTS = 12
RETRY_SECONDS = 0.25
# A client repeats a request for this time, which is longer than any outage. A request without an
# answer then counts as lost.
RETRY_LIMIT_SECONDS = 90.0
ANSWER_SECONDS = 30.0


@dataclass
class Answers:
    """The answers that the clients got.

    `accepted`: job ids by order number. `cancelled`: ids of the jobs that a client cancels.
    `wrong`: one sentence for each answer that is an error. `retries`: number of repeated requests.
    """

    accepted: dict[int, list[str]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, order: Order, id: str) -> None:
        with self.lock:
            self.accepted.setdefault(order.number, []).append(id)

    def is_wrong(self, sentence: str) -> None:
        with self.lock:
            self.wrong.append(sentence)


def client_of(urls: Sequence[str], seconds: float) -> httpx.Client:
    """A client whose requests go to the services in turn. `seconds`: those of one answer."""
    return httpx.Client(base_url=urls[0], transport=InTurn(lambda: urls), timeout=seconds)


def post_all(
    urls: Sequence[str], orders: Sequence[Order], models: Mapping[int, bytes], answers: Answers, stop: threading.Event
) -> Callable[[], bool]:
    """Start to post each order at its time, and its new model just before.

    The function that is returned says whether all orders are posted.
    """
    began = time.monotonic()
    pool = ThreadPoolExecutor(CLIENTS, "client")

    def send(order: Order) -> None:
        if stop.wait(max(0.0, began + order.at - time.monotonic())):
            return
        try:
            with client_of(urls, ANSWER_SECONDS) as http:
                if order.number not in models or _upload(http, order, models[order.number], answers, stop):
                    _order(http, order, answers, stop)
        except Exception as error:
            answers.is_wrong(f"order {order.number}: {error!r}")

    sent = [pool.submit(send, order) for order in orders for _ in range(order.posts)]
    pool.shutdown(wait=False)
    return lambda: all(each.done() for each in sent)


def _order(http: httpx.Client, order: Order, answers: Answers, stop: threading.Event) -> None:
    # A request without an idempotency key is not repeated, because it could make a second job.
    post = partial(http.post, "/v1/jobs", json=order.body, headers=order.headers)
    answer = _request(post, answers, stop, RETRY_LIMIT_SECONDS if order.key else 0.0)
    if answer is None:
        if order.key and not stop.is_set():
            answers.is_wrong(f"order {order.number} was not accepted within {RETRY_LIMIT_SECONDS:.0f} s")
        return
    if answer.status_code == 422 and order.kind == "new" and "model_rejected" in answer.text:
        # The inspection of the new model lost two processes.
        return
    if answer.status_code not in (200, 202):
        answers.is_wrong(f"order {order.number} got status {answer.status_code}: {answer.text[:200]}")
        return
    id = str(answer.json()["id"])
    answers.accept(order, id)
    if order.cancel is not None:
        _cancel(http, order, id, answers, stop)


def _cancel(http: httpx.Client, order: Order, id: str, answers: Answers, stop: threading.Event) -> None:
    assert order.cancel is not None
    stop.wait(order.cancel)
    with answers.lock:
        # The id is added before the request: the service may cancel the job and lose the answer.
        answers.cancelled.add(id)
    answer = _request(partial(http.post, f"/v1/jobs/{id}/cancel"), answers, stop, RETRY_LIMIT_SECONDS)
    if answer is not None and answer.status_code != 202:
        answers.is_wrong(f"the cancellation of {id} got status {answer.status_code}: {answer.text[:200]}")


def _upload(http: httpx.Client, order: Order, content: bytes, answers: Answers, stop: threading.Event) -> bool:
    """Whether the service accepted the model."""
    put = partial(http.put, f"/v1/models/{order.body['model']}", content=content, headers=BYTES)
    answer = _request(put, answers, stop, RETRY_LIMIT_SECONDS)
    if answer is not None and not answer.is_success:
        answers.is_wrong(f"the model of order {order.number} got status {answer.status_code}: {answer.text[:200]}")
    return answer is not None and answer.is_success


def _request(send: Callable[[], httpx.Response], answers: Answers, stop: threading.Event, patience: float) -> httpx.Response | None:
    """Repeat the request until there is an answer; returns None after `patience` seconds.

    Status 429 (busy) and 503 (unavailable) do not count as answers.
    """
    deadline = time.monotonic() + patience
    while True:
        with suppress(httpx.TransportError):
            answer = send()
            if answer.status_code not in (429, 503):
                return answer
        if time.monotonic() >= deadline or stop.wait(RETRY_SECONDS):
            return None
        answers.retries += 1
