"""Webhooks: tells whoever asked for it that a job has ended, by threads of the service, until they hear it.

What is to be delivered stands in the store. A service that is killed while it delivers leaves it there, and another one,
or the same after its restart, goes on. The form is that of Standard Webhooks.
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
FIRST_DELAY, FACTOR, LONGEST_DELAY = 5.0, 4.0, 12 * 3600.0
GONE = 410
"""What a server answers that wants to hear no more of it."""


@dataclass
class Dispatcher:
    """Nothing is sent before `run`; `wake` has it look at once. `most_attempts` of one delivery, then it has failed."""

    deliveries: DeliveryStore
    jobs: JobStore
    keys: KeyStore
    url_policy: UrlPolicy
    poster: PinnedPoster
    metrics: Metrics
    most_attempts: int
    now: Callable[[], float] = time.time
    # A generator of its own: threads that draw from the shared one disturb every other user of it.
    jitter: Callable[[], float] = field(default_factory=lambda: Random().random)
    _loop: PollingLoop = field(default_factory=lambda: PollingLoop("deliveries"))

    def run(self, stop: threading.Event) -> None:
        """Deliver whatever is due until told to stop."""
        # By chance: threads that begin together look one by one.
        self._loop.run(stop, self.deliver_next, lambda: LOOK_SECONDS * (0.5 + self.jitter()))

    def deliver_next(self) -> bool:
        """Try one of those that are due; False where there is none."""
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
        """There is something new to deliver, or it is time to stop."""
        self._loop.wake()

    def _deliver(self, due: DueDelivery, delivery: DeliveryRecord, record: JobRecord) -> None:
        begun, clock = self.now(), time.monotonic()
        status, error = self._attempt(delivery, record, begun)
        attempt = AttemptRecord(begun, status, error, round(time.monotonic() - clock, 3))
        after = self._after(delivery, attempt)
        noted = self.deliveries.settle(due, after)
        # The host alone: path and query may hold secrets.
        fields = {"delivery": delivery.id, "host": urlsplit(delivery.url).hostname, "state": after.state, "status": status}
        structlog.get_logger().info("webhook", **fields, error=error, noted=noted, seconds=attempt.seconds, **bound("job", record))
        self.metrics.webhook("repeated" if after.state == "pending" else after.state)

    def _attempt(self, delivery: DeliveryRecord, record: JobRecord, at: float) -> tuple[int | None, str | None]:
        """The answer's status, or why there was none."""
        try:
            secret = self.keys.webhook_secret(delivery.owner)
            to = self.url_policy.check(delivery.url)
            addresses = self.url_policy.addresses(to)
            body = Announcement(id=record.id, status=record.status).model_dump_json()
            return self.poster.post(to, addresses, body.encode(), _headers(secret, delivery.id, at, body)), None
        except RecordNotFound:
            return None, "the key that asked for it was revoked"
        except (UrlNotAllowed, NoAnswer, OSError) as error:
            return None, str(error)
        except redis.exceptions.RedisError:
            raise
        except Exception:
            # It counts as an attempt: otherwise it would be made for ever.
            structlog.get_logger().exception("webhook failed", delivery=delivery.id, **bound("job", record))
            return None, "the service failed; its log has the reason"

    def _after(self, delivery: DeliveryRecord, attempt: AttemptRecord) -> DeliveryRecord:
        if attempt.status is not None and 200 <= attempt.status < 300:
            return delivery.tried(attempt, "delivered", None)
        count = len(delivery.attempts) + 1
        if attempt.status == GONE or count >= self.most_attempts:
            return delivery.tried(attempt, "failed", None)
        delay = min(FIRST_DELAY * FACTOR ** (count - 1), LONGEST_DELAY)
        # Between half of it and all of it: those that failed together come back one by one.
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
