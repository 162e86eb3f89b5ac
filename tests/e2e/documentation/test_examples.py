"""Runs every example as in a fresh clone: without a network, and on any machine."""

import asyncio
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from examples import trap
from examples.paper import EXPECTED, Net
from safetensors.torch import save_file

import unitrank
from unitrank.client.sync import Client

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
AIRFLOW = ROOT / "integrations" / "airflow"
PNG = b"\x89PNG"

RunExample = Callable[..., str]


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunExample:
    """A function that runs a script in this process, which has torch, and returns its output."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(name: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *words])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_run_here_or_is_tested_elsewhere() -> None:
    source = Path(__file__).read_text()

    captum = "tests/e2e/documentation/test_from_captum.py"
    towers = "tests/e2e/documentation/test_check_scores.py"
    elsewhere = {"trap.py": "tests/engine/test_trap.py", "from_captum.py": captum, "captum_rows.py": captum}
    elsewhere["three_towers.py"] = towers
    assert {path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source} <= elsewhere.keys()
    assert all((ROOT / test).exists() for test in elsewhere.values())


@pytest.mark.check
def test_ideas_when_run_then_the_page_shows_what_it_prints(run_example: RunExample) -> None:
    """Digits may differ between machines; words and verdicts may not."""
    page = (ROOT / "docs" / "ideas.md").read_text()
    printed_lines = [
        line for block in re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for line in block.splitlines()
    ]

    printed = {_words(line) for line in run_example("ideas.py").splitlines()}

    assert len(printed_lines) > 20
    assert [line for line in printed_lines if _words(line) not in printed] == []


@pytest.mark.check
def test_paper_when_the_folder_has_another_net_then_prints_a_line_for_each_method_and_layer(
    run_example: RunExample, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    save_file(Net().state_dict(), tmp_path / "allconv.safetensors")
    np.savez(tmp_path / "t10k.npz", x=np.random.default_rng(0).integers(256, size=(6, 1, 28, 28), dtype=np.uint8))

    rows = [line.split() for line in run_example("paper.py", "--data", str(tmp_path)).splitlines()[1:]]

    assert [tuple(row[:2]) for row in rows] == [key for key in EXPECTED if "100" not in key[1]]
    assert all(0 < float(row[2]) < float(row[4]) for row in rows)


@pytest.mark.check
def test_saliency_when_run_then_draws_three_maps_and_integrated_gradients_lead(run_example: RunExample, tmp_path: Path) -> None:
    printed = run_example("saliency.py", "--digit", "3", "--output", str(tmp_path))

    maps = [f"saliency-{id}.png" for id in ("gradient.mean_abs", "integrated_gradients", "smoothgrad")]
    assert sorted(path.name for path in tmp_path.iterdir()) == maps
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.iterdir())
    (leader,) = [line for line in printed.splitlines() if " | integrated_gradients | " in line]
    assert leader.strip().startswith("better than random | ")


@pytest.mark.check
def test_pruning_when_run_then_the_pruned_network_has_the_predicted_accuracy(run_example: RunExample, tmp_path: Path) -> None:
    printed = run_example("pruning.py", "--output", str(tmp_path / "mask.safetensors"))

    predicted = re.search(r"7 of 24 units of relu2 are removed: .* is (0\.\d+)", printed)
    measured = re.search(r"accuracy of the pruned network on the same \d+ scans: (0\.\d+)", printed)
    assert predicted is not None
    assert measured is not None
    assert predicted[1] == measured[1]


@pytest.mark.check
def test_interactions_when_run_then_a_hook_gives_the_second_difference_of_the_job(run_example: RunExample) -> None:
    printed = run_example("interactions.py")

    job = re.search(r"channels \d+ and \d+ do each other's work: (-0\.\d+)", printed)
    hook = re.search(r"the first pair again, by a hook: (-0\.\d+)", printed)
    assert job is not None
    assert hook is not None
    assert float(job[1]) == pytest.approx(float(hook[1]), abs=2e-3)
    assert re.search(r"channels \d+ and \d+ need each other: \+0\.\d+", printed)


@pytest.mark.check
def test_layers_when_run_then_the_page_shows_what_it_prints(run_example: RunExample) -> None:
    """Training rounds differently on each machine, so digits may differ; words may not."""
    page = (ROOT / "docs" / "several-layers.md").read_text()
    (block,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)

    printed = run_example("layers.py").splitlines()
    of_layers = [line.split(" | ") for line in printed[2:6]]

    assert [_words(line) for line in printed[:2]] == [_words(line) for line in block.splitlines()[:2]]
    assert len(printed) == len(block.splitlines())
    assert [cells[0].strip() for cells in of_layers] == ["relu1", "relu2", "relu3", "all layers together"]
    assert all(cells[3] == "better than random" for cells in of_layers)
    selectivities = [float(cells[6]) for cells in of_layers[:3]]
    assert selectivities.index(max(selectivities)) == 2


@pytest.mark.check
def test_transformer_when_run_then_names_neurons_for_each_kind_of_sentence(run_example: RunExample) -> None:
    printed = run_example("transformer.py")

    assert [line.split()[0] for line in printed.splitlines()[-4:]] == ["blame", "order", "praise", "question"]
    (leader,) = [line for line in printed.splitlines() if " | exact_ablation | " in line]
    assert leader.strip().startswith("better than random | ")


@pytest.mark.check
def test_attribution_patching_when_run_then_the_page_has_its_numbers(run_example: RunExample) -> None:
    """Scores order the heads as patching does. Training rounds differently on each machine."""
    page = (ROOT / "docs" / "attribution-patching.md").read_text()
    (block,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)

    printed = run_example("attribution_patching.py")

    heads = np.array([[float(cell) for cell in line.split("|")[1:]] for line in printed.splitlines()[2:]])
    assert [_words(line) for line in printed.splitlines()[1:]] == [_words(line) for line in block.splitlines()[1:]]
    for drop, estimate in ((0, 1), (2, 3)):
        assert set(heads[:, drop].argsort()[-4:]) == set(heads[:, estimate].argsort()[-4:]) == {0, 1, 2, 3}
        assert np.corrcoef(heads[:, drop], heads[:, estimate])[0, 1] > 0.9


@pytest.mark.slow
def test_heads_when_run_then_names_the_heads_of_each_layer_and_the_positions(run_example: RunExample) -> None:
    accuracy, *ranked = run_example("heads.py").splitlines()

    assert float(accuracy.partition("%")[0]) > 90
    for layer, (line, word, count) in enumerate(zip(ranked, ("head", "head", "position"), (4, 4, 10), strict=True)):
        name, _, units = line.partition(": ")
        assert name.startswith(f"body.h.{layer % 2}")
        assert sorted(unit.partition(" (")[0] for unit in units.split(", ")) == [f"{word} {number}" for number in range(count)]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a pipeline leaves it: a network, and data that it was not trained on."""
    folder = tmp_path_factory.mktemp("build")
    unitrank.export(trap.train(2), torch.zeros(1, 10), folder / "net.pt2")
    x, y = trap.data(400, 3)
    np.savez(folder / "holdout.npz", x=x, y=y)
    return folder


@pytest.mark.check
def test_pipeline_when_run_then_its_exit_code_tells_whether_the_gate_is_met(url: str, build: Path) -> None:
    # Layer 4 has two units: no test of two units can be significant.
    met, undecided = (_pipeline(url, build, "--layer", layer) for layer in ("1", "4"))

    assert met.returncode == 0, met.stdout + met.stderr
    assert "NOT MET" not in met.stdout
    assert undecided.returncode == 2, undecided.stdout + undecided.stderr
    assert "2 units can be replaced in 2 ways only" in undecided.stderr


@pytest.mark.check
def test_pipeline_when_the_request_is_wrong_then_exits_with_2_and_names_the_error(url: str, build: Path) -> None:
    wrong = _pipeline(url, build, "--layer", "relu9")

    assert wrong.returncode == 2
    assert "layer 'relu9' not found" in wrong.stderr


def _pipeline(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "pipeline.py"), "net.pt2", "holdout.npz", *words]
    environment = {**os.environ, "UNITRANK_URL": url, "no_proxy": "*"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, url: str) -> Any:
    """The operator's module, with minimal classes instead of Airflow.

    `defer` keeps its arguments. tests/e2e/integrations runs the module in Airflow.
    """

    class Operator:
        def __init__(self, task_id: str) -> None:
            self.task_id = task_id

        def defer(self, **deferred: Any) -> None:
            self.deferred = SimpleNamespace(**deferred)

    class Trigger:
        def __init__(self) -> None:
            pass

    parts: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.sdk": {"BaseOperator": Operator, "task": lambda function: function},
        "airflow.triggers": {},
        "airflow.triggers.base": {"BaseTrigger": Trigger, "TriggerEvent": _Event},
    }
    for name, holds in parts.items():
        module = ModuleType(name)
        module.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("UNITRANK_URL", url)
    monkeypatch.syspath_prepend(str(AIRFLOW))
    monkeypatch.delitem(sys.modules, "airflow_unitrank", raising=False)
    import airflow_unitrank

    yield airflow_unitrank
    sys.modules.pop("airflow_unitrank", None)


class _Event:
    def __init__(self, payload: Any) -> None:
        self.payload = payload


def test_airflow_when_a_job_succeeds_then_the_task_continues_with_its_id(airflow: Any, build: Path, client: Client) -> None:
    client.models.put("airflow", build / "net.pt2")
    client.datasets.put("finite", build / "holdout.npz")

    operator, deferred = _deferred(airflow, "finite", attempt=1)
    event = _event(deferred.trigger)

    assert client.jobs.get(getattr(operator, deferred.method_name)({}, event)).status == "succeeded"


def test_airflow_when_a_job_fails_then_the_task_fails_and_its_next_attempt_is_another_job(
    airflow: Any, build: Path, client: Client
) -> None:
    client.models.put("airflow", build / "net.pt2")
    client.datasets.put("infinite", x=np.full((4, 10), np.inf, np.float32), y=np.zeros(4, np.int64))

    operator, first = _deferred(airflow, "infinite", attempt=1)
    event = _event(first.trigger)
    with pytest.raises(unitrank.JobFailed, match="non_finite"):
        operator.ended({}, event)

    # The scheduler may start one attempt twice.
    assert _deferred(airflow, "infinite", attempt=1)[1].trigger.job == first.trigger.job
    assert _deferred(airflow, "infinite", attempt=2)[1].trigger.job != first.trigger.job


def _deferred(airflow: Any, data: str, attempt: int) -> tuple[Any, Any]:
    request = {"model": "airflow", "layer": "1", "dataset": data, "methods": ["gradient"]}
    operator = airflow.RankUnits(task_id="rank", request=request)
    task = SimpleNamespace(dag_id="nightly", task_id="rank", run_id=f"scheduled__{data}", map_index=-1, try_number=attempt)
    operator.execute({"ti": task})
    return operator, operator.deferred


def _event(trigger: Any) -> Any:
    """The single event of the trigger, after it was serialized and made again."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    copy = getattr(sys.modules[module], name)(**arguments)

    async def events() -> list[Any]:
        return [event.payload async for event in copy.run()]

    (only,) = asyncio.run(events())
    return only


def _words(line: str) -> str:
    return re.sub(r"[\d.%-]+", "#", " ".join(line.split()))
