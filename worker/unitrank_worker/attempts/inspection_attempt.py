"""An attempt at the inspection of a model."""

from collections.abc import Collection

from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import IncomingBlob
from unitrank_store.contents.waiting_jobs import model_ready, reject_model
from unitrank_store.errors import SizeExceeded
from unitrank_store.full import wait_reason
from unitrank_store.jobs.record import JobRecord, Status
from unitrank_store.observability.logs import bound
from unitrank_worker.attempts.attempt import Order, Retry, log_end, opened, problem_of
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.problem import INTERNAL
from unitrank_worker.process.channel import Message


class InspectionAttempt:
    """An inspection: the child gets the upload, and sends the cleaned archive and the manifest."""

    def __init__(self, stores: Stores, record: JobRecord) -> None:
        self.record = record
        self._stores = stores
        self._digest = str(record.request["digest"])
        self._incoming: IncomingBlob | None = None
        self._manifest: Json | None = None
        self._error: Exception | None = None

    def order(self, warm: Collection[str]) -> Order:
        """As in `Attempt`.

        Raises CannotRun if the upload is damaged, and RecordNotFound or FileNotFoundError if the
        upload was deleted.
        """
        model = self._stores.models.content(self._digest)
        has_recipe = bool(model.architecture and model.weights)
        content = {
            "run": "inspection",
            "id": self.record.id,
            "architecture": model.architecture if has_recipe else None,
            "about": bound("inspection", self.record) | {"attempt": self.record.attempt},
        }
        return Order(content, opened(self._stores.blobs, [model.blob], [], ["model"]).files)

    def take(self, message: Message) -> Message | None:
        """As in `Attempt`. The child sends pieces of the cleaned archive, then the manifest."""
        if "archive" in message.content:
            self._append(message.payload)
        elif "manifest" in message.content:
            if not isinstance(message.content["manifest"], dict):
                raise TypeError("the manifest is not an object")
            self._manifest = message.content["manifest"]
        return None

    @property
    def unwanted(self) -> bool:
        """Always False: an inspection writes no progress, so that it does not notice its end."""
        return False

    @property
    def ends_quickly(self) -> bool:
        """As in `Attempt`: False, because the cleaned archive may be large."""
        return False

    def finish(self, status: Status, problem: Json | None, retry: Retry) -> None:
        """Make the model ready and queue the jobs that wait for it.

        After a failure, reject the model and fail these jobs.
        """
        stores, digest, clean = self._stores, self._digest, None
        if status == "succeeded":
            status, problem, clean = self._make_ready(retry)
        result = {"clean": clean} if status == "succeeded" else None
        ended = retry(lambda: stores.jobs.finish(self.record.id, self.record.attempt, status, result=result, problem=problem))
        log_end(status, ended)
        if problem is not None and ended:
            reason = problem
            retry(lambda: reject_model(stores.waiting, stores.models, digest, reason))

    def _append(self, piece: bytes) -> None:
        """Write a piece of the cleaned archive. After a disk error the attempt fails at its end."""
        if self._error is not None:
            return
        try:
            self._incoming = self._incoming or self._stores.blobs.incoming(self._stores.most_archive_bytes)
            self._incoming.write(piece)
        except (OSError, SizeExceeded) as error:
            self._error = error
            self.abandon()

    def _make_ready(self, retry: Retry) -> tuple[Status, Json | None, str | None]:
        """Store the cleaned archive and its manifest.

        Returns the status, the problem and the digest of the cleaned archive.
        """
        stores, digest = self._stores, self._digest
        try:
            if self._error is not None:
                raise self._error
            if self._incoming is None or self._manifest is None:
                return "failed", INTERNAL, None
            clean, manifest = self._incoming.commit(), self._manifest
            retry(lambda: stores.models.ready(digest, manifest, clean))
            retry(lambda: model_ready(stores.connection, stores.waiting, digest))
        except Exception as error:
            if wait_reason(error):
                raise
            return "failed", problem_of(error), None
        return "succeeded", None, clean

    def abandon(self) -> None:
        """Delete the pieces of the cleaned archive, unless it was committed."""
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None
