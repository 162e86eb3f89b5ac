"""The engine of the workers: the models that it loads, and the requests that it rejects."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.tables.sharded.conftest import FolderReader, cut, header
from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_tables.sharded.headers import index_of
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import Assignment, TorchEngine, Upload, fitting

REQUEST = JobRequest.model_validate({"model": "m", "layer": "1", "dataset": "d", "methods": ["gradient"]})
RESOLVED: Json = {
    "clean": "sha256:1",
    "model": {"name": "m", "digest": "sha256:2"},
    "dataset": {"name": "d", "digest": "sha256:3"},
}


@pytest.fixture
def engine(tmp_path: Path) -> TorchEngine:
    engine = TorchEngine(ChildSettings(scratch=str(tmp_path)), "cpu")
    engine.open()
    return engine


@pytest.fixture
def table(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "table.npz", x=np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    return tmp_path / "table.npz"


def inspected(engine: TorchEngine, folder: Path) -> tuple[Path, Json]:
    """A cleaned archive and its manifest."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    unitrank.export(net, torch.zeros(2, 3), folder / "net.pt2")
    return folder / "clean.pt2", engine.inspect(Upload(folder / "net.pt2"), folder / "clean.pt2")


def test_job_when_it_was_not_checked_then_is_checked_and_runs_and_the_model_stays_warm(
    engine: TorchEngine, table: Path, tmp_path: Path
) -> None:
    archive, manifest = inspected(engine, tmp_path)
    stages: list[str] = []
    first = Assignment("a", REQUEST, RESOLVED, table, archive, manifest)
    again = Assignment("b", REQUEST, RESOLVED, table, None, manifest)

    for assignment in (first, again):
        summary, arrays = engine.run(assignment, lambda progress: stages.append(progress["stage"]))
        assert summary["layer"]["name"] == "1"
        assert arrays["importance/gradient"].shape == (1, 4)
    assert stages.count("loading the model") == 1
    assert [(model.digest, model.name) for model in engine.warm()] == [("sha256:1", "m")]


@pytest.mark.check
@pytest.mark.parametrize("clusters", [{"by": "label"}, {"by": "kmeans", "k": 2, "layer": "0"}], ids=["labels", "k-means"])
def test_job_when_its_dataset_is_in_shards_then_is_equal_to_the_bit(engine: TorchEngine, tmp_path: Path, clusters: Json) -> None:
    archive, manifest = inspected(engine, tmp_path)
    rows = {"x": np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), "y": np.arange(60) % 2}
    np.savez(tmp_path / "joined.npz", **rows)
    paths = [tmp_path / f"part-{number}.npz" for number in range(4)]
    for path, part in zip(paths, cut(rows, (0, 1, 20, 45, 60)), strict=True):
        np.savez(path, **part)
    index = index_of([header(path) for path in paths])
    assert index is not None
    (tmp_path / "index").write_bytes(index.to_bytes())
    methods = ["gradient", {"name": "conductance", "steps": 4}]
    request = REQUEST.model_validate(
        {**REQUEST.model_dump(mode="json"), "methods": methods, "labels": "y", "clusters": clusters, "keep_examples": 5}
    )
    shards = lambda number: FolderReader(paths)  # noqa: E731
    results = [
        engine.run(Assignment("a", request, RESOLVED, tmp_path / name, archive, manifest, shards=shards), lambda progress: None)
        for name in ("joined.npz", "index")
    ]

    (summary, arrays), (other_summary, other_arrays) = results
    assert arrays.keys() == other_arrays.keys()
    assert all(array.tobytes() == other_arrays[name].tobytes() for name, array in arrays.items())
    assert [ranking["clusters"] for ranking in summary["rankings"]] == [each["clusters"] for each in other_summary["rankings"]]


def test_job_when_it_does_not_fit_the_model_then_fails_with_that_code(engine: TorchEngine, table: Path, tmp_path: Path) -> None:
    archive, manifest = inspected(engine, tmp_path)
    request = REQUEST.model_copy(update={"layer": "nowhere"})

    with pytest.raises(EngineError) as caught:
        engine.run(Assignment("a", request, RESOLVED, table, archive, manifest), lambda progress: None)
    assert caught.value.code == "layer_not_found"


def test_job_when_its_model_is_neither_warm_nor_given_then_says_so(engine: TorchEngine, table: Path) -> None:
    resolved = RESOLVED | {"checked": True}

    with pytest.raises(EngineError) as caught:
        engine.run(Assignment("a", REQUEST, resolved, table), lambda progress: None)
    assert caught.value.code == "model_not_ready"


def test_operator_when_unknown_then_the_engine_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        TorchEngine(ChildSettings(scratch=str(tmp_path), operators=("aten.nothing.default",)), "cpu")
    assert caught.value.code == "unknown_operator"


def test_result_when_it_fits_only_without_the_examples_of_units_then_they_are_left_out() -> None:
    arrays = {"importance/a": np.zeros(9), "unit_examples/a/rows": np.zeros(9, np.int64), "rows/all": np.zeros(2, np.int64)}

    assert fitting(arrays, most=72 + 72 + 16 + 3 * 256) == arrays
    assert set(fitting(arrays, most=72 + 72 + 16 + 3 * 256 - 1)) == {"importance/a", "rows/all"}
