"""An attempt at the inspection of a model."""

from collections.abc import Collection

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import IncomingBlob
from unitrank_store.contents.waiting_jobs import model_ready, reject_model
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability.logs import bound
from unitrank_worker.attempts.attempt import Order, Patiently, log_end, opened, problem_of
from unitrank_worker.attempts.stores import AWAY, Stores
from unitrank_worker.process.channel import Message


class InspectionAttempt:
    """An inspection: the upload goes to the child; the cleaned archive and the manifest come back."""

    def __init__(self, stores: Stores, record: JobRecord) -> None:
        self.record = record
        self._stores = stores
        self._digest = str(record.request["digest"])
        self._incoming: IncomingBlob | None = None
        self._manifest: Json | None = None

    def order(self, warm: Collection[str]) -> Order:
        """Raises CannotRun where the upload is gone."""
        model = self._stores.models.content(self._digest)
        by_weights = bool(model.architecture and model.weights)
        content = {
            "run": "inspection",
            "id": self.record.id,
            "architecture": model.architecture if by_weights else None,
            "about": bound("inspection", self.record) | {"attempt": self.record.attempt},
        }
        return Order(content, opened(self._stores.blobs, [str(model.weights if by_weights else model.digest)], []))

    def take(self, message: Message) -> Message | None:
        """The pieces of the cleaned archive come first, then the manifest."""
        if "archive" in message.content:
            self._incoming = self._incoming or self._stores.blobs.incoming()
            self._incoming.write(message.payload)
        elif "manifest" in message.content:
            self._manifest = message.content["manifest"]
        return None

    @property
    def unwanted(self) -> bool:
        """An inspection writes no progress, and so is not told here."""
        return False

    def finish(self, status: Status, problem: Json | None, patiently: Patiently) -> None:
        """Make the model ready and release the jobs that wait for it, or reject it with them."""
        stores, digest, clean = self._stores, self._digest, None
        if status == "succeeded" and self._incoming is not None and self._manifest is not None:
            clean, manifest = self._incoming.commit(), self._manifest
            try:
                patiently(lambda: stores.models.ready(digest, manifest, clean))
                patiently(lambda: model_ready(stores.connection, stores.waiting, digest))
            except AWAY:
                raise
            except Exception as error:
                status, problem = "failed", problem_of(error)
        self.abandon()
        result = {"clean": clean} if status == "succeeded" else None
        ended = patiently(lambda: stores.jobs.finish(self.record.id, self.record.attempt, status, result=result, problem=problem))
        log_end(status, ended)
        if problem is not None and ended:
            reason = problem
            patiently(lambda: reject_model(stores.waiting, stores.models, digest, reason))

    def abandon(self) -> None:
        """Nothing of the cleaned archive is left, unless it was committed."""
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None
