"""Posts webhooks when jobs have ended, in threads of the service, and repeats failed attempts.

The store holds the deliveries, so that each service of the store can make each delivery, also after
the service that began it was killed. The requests follow the specification of Standard Webhooks.

    answer 2xx                              the delivery is `delivered`
    answer 410, or the last attempt fails   the delivery is `failed`
    any other outcome                       the delivery stays `pending`; the next attempt follows
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from urllib.parse import urlsplit

import redis
import structlog
from standardwebhooks import Webhook

from unitrank_schemas.deliveries import Announcement
from unitrank_service.background.polling import PollingLoop
from unitrank_service.observability.metrics import Metrics
from unitrank_service.webhooks.pinned_post import NoAnswer, PinnedPoster
from unitrank_service.webhooks.url_policy import UrlNotAllowed, UrlPolicy
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.observability.logs import bound
from unitrank_store.webhooks.deliveries import AttemptRecord, DeliveryRecord, DeliveryStore, DueDelivery

LOOK_SECONDS = 2.0
"""Mean seconds after which an idle thread looks again for due deliveries."""
FIRST_DELAY, FACTOR, LONGEST_DELAY = 5.0, 4.0, 12 * 3600.0
"""Seconds before the second attempt, growth of the delay per attempt, and its limit in seconds."""
GONE = 410
"""HTTP status with which a server ends all attempts of a delivery."""


@dataclass
class Dispatcher:
    """Makes the deliveries of one store. Nothing is sent before `run`.

    `most_attempts`: attempts of one delivery, after which it has failed.
    `now`: returns the time in Unix seconds. `jitter`: returns random numbers from 0 to 1.
    """

    deliveries: DeliveryStore
    jobs: JobStore
    keys: KeyStore
    url_policy: UrlPolicy
    poster: PinnedPoster
    metrics: Metrics
    most_attempts: int
    now: Callable[[], float] = time.time
    # A separate generator: threads that draw from the shared one would disturb its other users.
    jitter: Callable[[], float] = field(default_factory=lambda: Random().random)
    _loop: PollingLoop = field(default_factory=lambda: PollingLoop("deliveries"))

    def run(self, stop: threading.Event) -> None:
        """Make all due deliveries until `stop` is set."""
        # The random interval separates threads that start together.
        self._loop.run(stop, self.deliver_next, lambda: LOOK_SECONDS * (0.5 + self.jitter()))

    def deliver_next(self) -> bool:
        """Make one attempt of a due delivery. Returns False if no delivery is due."""
        due = self.deliveries.take(self.now())
        if due is None:
            return False
        record = next(iter(self.jobs.get_many([due.job])), None)
        delivery = due.delivery
        if delivery is None or record is None:
            self.deliveries.settle(due, None)
        else:
            self._deliver(due, delivery, record)
        return True

    def wake(self) -> None:
        """Let an idle thread look now: a delivery is due, or the service ends."""
        self._loop.wake()

    def _deliver(self, due: DueDelivery, delivery: DeliveryRecord, record: JobRecord) -> None:
        started, clock = self.now(), time.monotonic()
        status, error = self._attempt(delivery, record, started)
        attempt = AttemptRecord(started, status, error, round(time.monotonic() - clock, 3))
        updated = self._updated(delivery, attempt)
        stored = self.deliveries.settle(due, updated)
        # Only the host is logged, because the path and the query may hold secrets.
        fields = {"delivery": delivery.id, "host": urlsplit(delivery.url).hostname, "state": updated.state, "status": status}
        structlog.get_logger().info(
            "webhook", **fields, error=error, stored=stored, seconds=attempt.seconds, **bound("job", record)
        )
        self.metrics.webhook("repeated" if updated.state == "pending" else updated.state)

    def _attempt(self, delivery: DeliveryRecord, record: JobRecord, at: float) -> tuple[int | None, str | None]:
        """The status of the answer and None, or None and the reason why there was no answer."""
        try:
            secret = self.keys.webhook_secret(delivery.owner)
            url = self.url_policy.check(delivery.url)
            addresses = self.url_policy.addresses(url)
            body = Announcement(id=record.id, status=record.status).model_dump_json()
            return self.poster.post(url, addresses, body.encode(), _headers(secret, delivery.id, at, body)), None
        except RecordNotFound:
            return None, "the API key of the request was revoked"
        except (UrlNotAllowed, NoAnswer, OSError) as error:
            return None, str(error)
        except redis.exceptions.RedisError:
            raise
        except Exception:
            # An unexpected error counts as an attempt; otherwise the attempts would never end.
            structlog.get_logger().exception("webhook failed", delivery=delivery.id, **bound("job", record))
            return None, "an error in the service; the operator finds the reason in the log"

    def _updated(self, delivery: DeliveryRecord, attempt: AttemptRecord) -> DeliveryRecord:
        """The delivery after the attempt, with its new state and the time of the next attempt."""
        if attempt.status is not None and 200 <= attempt.status < 300:
            return delivery.tried(attempt, "delivered", None)
        count = len(delivery.attempts) + 1
        if attempt.status == GONE or count >= self.most_attempts:
            return delivery.tried(attempt, "failed", None)
        delay = min(FIRST_DELAY * FACTOR ** (count - 1), LONGEST_DELAY)
        # The random factor, 0.5 to 1, spreads the attempts of deliveries that failed together.
        return delivery.tried(attempt, "pending", self.now() + delay * (1 + self.jitter()) / 2)


def _headers(secret: str, id: str, at: float, body: str) -> dict[str, str]:
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(at, UTC), body)
    return {
        "Content-Type": "application/json",
        "User-Agent": "unitrank",
        "webhook-id": id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signature,
    }
