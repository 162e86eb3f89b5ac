"""The output of a notebook's cells. IPython itself runs the cells and formats their values."""

import html
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from torch import nn

import unitrank
from tests.support.documentation.notebook import notebook
from unitrank.client import progress
from unitrank_schemas.jobs import Job

PNG = b"\x89PNG\r\n\x1a\n"
STATE = {
    "id": "j",
    "status": "running",
    "attempt": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "request": {"model": "m", "layer": "1", "dataset": "d", "methods": ["gradient"]},
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
    "progress": {"done": 3200, "total": 40000, "unit": "rows", "stage": "attribution", "eta": 4.2},
}
MODEL = {"name": "m", "digest": "sha256:" + "0" * 64, "bytes": 1, "status": "ready", "created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def job_result() -> unitrank.JobResult:
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    return unitrank.rank(network, "1", x, np.arange(20) % 2, methods=["gradient"], ablation={"random": 19})


def test_cell_when_it_ends_with_a_picture_then_the_notebook_shows_it(job_result: unitrank.JobResult) -> None:
    with notebook(result=job_result) as page:
        for call in ("plot_ablation()", "plot_heatmap()", "plot('leaderboard')"):
            outputs = page.cell(f"result.{call}")
            assert outputs["image/png"].startswith(PNG)


def test_cell_when_it_ends_with_a_result_then_the_notebook_shows_its_leaderboard(job_result: unitrank.JobResult) -> None:
    with notebook(result=job_result) as page:
        outputs = page.cell("result")

    assert "<td>gradient</td>" in outputs["text/html"]
    assert outputs["text/plain"].startswith("JobResult of 1: 6 units, 2 clusters")


def test_watching_when_in_a_notebook_then_one_output_is_replaced() -> None:
    with notebook() as page:
        with progress.watching("j", quiet=False) as watch:
            assert watch is not None
            for status in ("running", "running", "succeeded"):
                watch(Job.model_validate_json(json.dumps(STATE | {"status": status})))

        assert _lines(page.outputs) == ["job j: running, attribution, 3,200 of 40,000 rows, about 4 s left"]
        assert _lines(page.updated) == ["job j: succeeded"]


def test_upload_when_in_a_notebook_then_one_line_says_how_much_has_gone(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(bytes(3 << 20))
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=MODEL | {"bytes": len(request.read())}))
    with notebook() as page, unitrank.Client("http://service", transport=transport) as client:
        client.models.put("m", tmp_path / "net.pt2", quiet=True)
        assert page.outputs == []
        client.models.put("m", tmp_path / "net.pt2")

        assert _lines(page.outputs) == ["uploading m: 33% of 3.1 MB"]
        assert _lines(page.updated) == ["uploading m: 67% of 3.1 MB", "uploading m: 100% of 3.1 MB"]


def test_notebook_when_the_kernel_is_not_jupyters_then_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    with notebook():
        assert progress.in_notebook()
    assert not progress.in_notebook()
    monkeypatch.setattr(IPython, "get_ipython", lambda: object.__new__(InteractiveShell))
    assert not progress.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not progress.in_notebook()


def _lines(outputs: list[dict[str, Any]]) -> list[str]:
    return [html.unescape(each["text/html"]).removeprefix("<code>").removesuffix("</code>") for each in outputs]
