"""The table of architectures: page and JSON agree, and some architectures are tried again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.parity import __main__ as parity
from benchmarks.parity import comparison, process
from docs.generate import models_page
from torch import Tensor, nn

from tests.engine.architectures.catalogue import CATALOGUE, Entry

ROOT = Path(__file__).parents[2]
RECORDS = json.loads((ROOT / models_page.RESULTS).read_text(encoding="utf-8"))
AGAIN = ("lenet", "kan")
"""Small architectures of different kinds."""


def test_page_when_compared_with_the_json_then_is_equal() -> None:
    page = (ROOT / "docs" / models_page.PAGE).read_text(encoding="utf-8")

    assert models_page.page(RECORDS) == page, "run: python docs/generate/models_page.py"


def test_json_when_compared_with_the_catalogue_then_has_each_architecture_once() -> None:
    assert [record["name"] for record in RECORDS] == list(CATALOGUE), "run: make parity"
    assert models_page.as_json(RECORDS) == (ROOT / models_page.RESULTS).read_text(encoding="utf-8")


@pytest.mark.check
@pytest.mark.parametrize("name", AGAIN)
def test_architecture_when_tried_again_then_every_method_is_right(name: str, tmp_path: Path) -> None:
    record = comparison.record_of(name, tmp_path)

    assert record["outcome"] == "exported"
    assert record["places"]
    assert list(models_page.faults(record)) == []


def _add(monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module], refused: tuple[str, str] | None = None) -> None:
    entry = Entry("tables", make, lambda: {"input": torch.randn(3, 4)}, refused=refused)
    monkeypatch.setitem(comparison.CATALOGUE, "new", entry)


class Mixing(nn.Module):
    """Each row gets the mean of all rows."""

    def forward(self, input: Tensor) -> Tensor:
        return input - input.mean(0)


@pytest.mark.parametrize(("code", "truly"), [("rows_depend", 1), ("not_exportable", 0)])
def test_refusal_when_its_code_is_the_expected_one_then_counts_as_true(
    code: str, truly: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _add(monkeypatch, Mixing, (code, "rows are mixed"))

    record = comparison.record_of("new", tmp_path)

    assert (record["outcome"], record["code"]) == ("refused", "rows_depend")
    assert models_page.counts([record])[2:5] == [
        f"- refused for a reason that is true: {truly}",
        f"- wrongly refused or failed: {1 - truly}",
        f"- exported or truly refused: {truly:.0%}",
    ]


@pytest.mark.check
def test_score_when_it_is_wrong_then_the_record_has_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _add(monkeypatch, lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))
    job = comparison.Comparison.job

    def wrong(*arguments: object, **request: object) -> tuple[dict[str, object], comparison.Scores]:
        summary, arrays = job(*arguments, **request)
        changed = {key: values * np.float32(1.001) for key, values in arrays.items() if key == "examples/gradient/all"}
        return summary, arrays | changed

    monkeypatch.setattr(comparison.Comparison, "job", wrong)

    record = comparison.record_of("new", tmp_path)

    assert "input: gradient differs from float64 by 0.001" in list(models_page.faults(record))
    assert {place["method"] for place in record["places"]} == {"gradient"}


@pytest.mark.check
def test_process_when_it_takes_too_long_then_ends_and_the_record_says_so(tmp_path: Path) -> None:
    late = process.in_process("mlp", tmp_path / "late.json", limit=0.0)

    assert (late["outcome"], late["reason"]) == ("failed", "it took more than 0 s")
    assert not (tmp_path / "late.json").exists()


def test_record_when_the_code_is_the_same_then_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def make(name: str, path: Path, limit: float) -> comparison.Record:
        calls.append(name)
        record = {"name": name, "family": "tables", "source": "project", "outcome": "failed", "reason": "a test"}
        path.write_text(json.dumps(record))
        return record

    monkeypatch.setattr(parity, "in_process", make)
    for digest in ("one", "one", "other"):
        parity.recorded("mlp", tmp_path, digest, limit=1.0)

    assert calls == ["mlp", "mlp"]
