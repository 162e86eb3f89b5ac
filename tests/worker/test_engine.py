"""The engine as the worker's process sees it: what is missing, and what it leaves behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelRecord
from unitrank_store.settings import Settings
from unitrank_worker.engine import Assignment, TorchEngine

DIGEST = f"sha256:{'ab' * 32}"
REQUEST = JobRequest.model_validate({"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"]})
MODEL = ModelRecord("m", DIGEST, 1, "ready", 0.0, "1", {}, None, DIGEST)


def test_job_when_its_dataset_was_just_deleted_then_that_is_what_it_says(tmp_path: Path) -> None:
    resolved: Json = {"model": {"name": "m"}, "dataset": {"digest": DIGEST}, "checked": True}

    with pytest.raises(EngineError, match="not there any more") as caught:
        TorchEngine(Settings(state=tmp_path), "cpu").run(Assignment("id", REQUEST, resolved, MODEL), lambda progress: None)

    assert caught.value.code == "dataset_not_found"


def test_inspection_when_its_process_is_killed_then_a_sweep_finds_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state=tmp_path)
    blobs = BlobStore.of(settings)
    with blobs.writer() as writer:
        writer.write(b"archive")
    engine = TorchEngine(settings, "cpu")
    swept = []

    def die(source: Path, target: Path) -> Json:
        target.write_bytes(b"half of it")
        swept.append(blobs.sweep(seconds=-1))
        raise SystemExit

    monkeypatch.setattr(engine._inspection, "inspect", die)
    with pytest.raises(SystemExit):
        engine.inspect(replace(MODEL, digest=writer.digest))

    assert swept == [1]
