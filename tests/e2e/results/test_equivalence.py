"""One job through HTTP, curl, both clients, the command line and in process: equal numbers.

Also the first commands and the notebook cell that a new user types.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.support.documentation.notebook import notebook
from unitrank.cli.main import main
from unitrank.client.sync import Client
from unitrank_schemas.results import Result

README = (Path(__file__).parents[3] / "README.md").read_text()
Json = dict[str, Any]

REQUEST: Json = {
    "layer": "1",
    "methods": ["gradient", {"name": "conductance", "steps": 8}],
    "clusters": {"by": "label"},
    "ablation": {"random": 19, "examples": 20},
    "seed": 7,
}
HEAD = 60


class CommandResult(NamedTuple):
    """The result of a command.

    `out`: standard output, for programs. `err`: standard error, for people.
    """

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture
def command(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """A function that runs a command line in this process."""
    monkeypatch.setenv("UNITRANK_URL", url)

    def run(*words: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["unitrank", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return CommandResult(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(HEAD, 6)).astype(np.float32)
    return {"x": x, "y": x[:, :3].argmax(1)}


@pytest.fixture(scope="module")
def direct(url: str, network: nn.Module, table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> unitrank.JobResult:
    """The result of the job over plain HTTP, without a client."""
    folder = tmp_path_factory.mktemp("direct")
    unitrank.export(network, torch.zeros(2, 6), folder / "net.pt2")
    np.savez(folder / "data.npz", **table)
    octets = {"Content-Type": "application/octet-stream"}
    with httpx.Client(base_url=url, timeout=90) as http:
        http.put("/v1/models/ways", content=(folder / "net.pt2").read_bytes(), headers=octets).raise_for_status()
        http.put("/v1/datasets/ways", content=(folder / "data.npz").read_bytes(), headers=octets).raise_for_status()
        response = http.post("/v1/jobs", json={"model": "ways", "dataset": "ways", **REQUEST}).raise_for_status()
        location = response.headers["Location"]
        assert http.get(location, params={"wait": 60}).json()["status"] == "succeeded"
        summary = http.get(f"{location}/result").json()
        (folder / "arrays.npz").write_bytes(http.get(f"{location}/result", headers={"Accept": "application/x-npz"}).content)
    with np.load(folder / "arrays.npz") as arrays:
        return unitrank.JobResult(Result.model_validate_json(json.dumps(summary)), dict(arrays))


def test_job_when_the_client_submits_it_again_then_its_numbers_are_those_of_plain_http(
    url: str, network: nn.Module, table: dict[str, Any], direct: unitrank.JobResult
) -> None:
    with Client(url) as client:
        model = client.models.put("ways-client", network, table["x"][:1])
        client.datasets.put("ways-client", x=torch.from_numpy(table["x"]), y=table["y"].tolist())
        job = client.jobs.submit(model="ways-client", dataset="ways-client", fresh=True, **REQUEST)
        result = job.result()

    assert "1" in [layer.name for layer in model.layers or []]
    assert job.id != direct.summary.job
    assert (result.summary.model.digest, result.summary.dataset.digest) == (
        direct.summary.model.digest,
        direct.summary.dataset.digest,
    )
    _check_equal(result, direct)


def test_job_when_curl_posts_it_again_then_its_numbers_are_the_same(url: str, direct: unitrank.JobResult, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def curl(*words: str) -> bytes:
        done = subprocess.run(["curl", "-sS", "--fail-with-body", "--noproxy", "*", *words], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    body = json.dumps({"model": "ways", "dataset": "ways", **REQUEST})
    id = json.loads(curl("-H", "Content-Type: application/json", "-H", "Cache-Control: no-cache", "-d", body, f"{url}/v1/jobs"))[
        "id"
    ]
    assert json.loads(curl(f"{url}/v1/jobs/{id}?wait=60"))["status"] == "succeeded"
    summary = curl(f"{url}/v1/jobs/{id}/result")
    curl("-H", "Accept: application/x-npz", "-o", str(tmp_path / "arrays.npz"), f"{url}/v1/jobs/{id}/result")

    assert id != direct.summary.job
    with np.load(tmp_path / "arrays.npz") as arrays:
        _check_equal(unitrank.JobResult(Result.model_validate_json(summary), dict(arrays)), direct)


def test_job_when_the_async_client_submits_it_again_then_its_numbers_are_the_same(url: str, direct: unitrank.JobResult) -> None:
    async def ask() -> unitrank.JobResult:
        async with unitrank.AsyncClient(url) as client:
            job = await client.jobs.submit(model="ways", dataset="ways", fresh=True, **REQUEST)
            return await job.result()

    _check_equal(asyncio.run(ask()), direct)


def test_job_when_the_engine_runs_in_process_then_its_numbers_are_the_same(
    network: nn.Module, table: dict[str, Any], direct: unitrank.JobResult
) -> None:
    result = unitrank.rank(network, x=table["x"], y=table["y"], **REQUEST)

    assert (result.summary.model.digest, result.summary.dataset.digest) == (
        direct.summary.model.digest,
        direct.summary.dataset.digest,
    )
    # With another number of threads the order of the sums differs.
    _check_equal(result, direct, exactly="OMP_NUM_THREADS" in os.environ)


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": [{"name": "conductance", "steps": 0, "rule": "middle"}, "gradent"], "sead": 1},
        {"clusters": {"by": "members", "members": {"a": ["b"]}}, "baseline": {"kind": "none"}},
        {"layer": "9", "target": {"class": 7}, "timeout": -1},
        {"layer": "9", "target": {"class": 7}},
    ],
)
def test_request_when_it_is_wrong_then_the_engine_in_process_and_the_service_raise_the_same_error(
    url: str, direct: unitrank.JobResult, network: nn.Module, table: dict[str, Any], wrong: Json
) -> None:
    fields = {**REQUEST, **wrong}
    with Client(url) as client, pytest.raises(unitrank.InvalidRequest) as service_error:
        client.jobs.submit(model="ways", dataset="ways", **fields)
    with pytest.raises(unitrank.InvalidRequest) as engine_error:
        unitrank.rank(network, x=table["x"], y=table["y"], **fields)

    assert engine_error.value.places == service_error.value.places
    assert (engine_error.value.code, engine_error.value.detail) == (service_error.value.code, service_error.value.detail)


def test_job_when_the_command_line_submits_it_again_then_its_numbers_are_the_same(
    url: str, direct: unitrank.JobResult, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"model": "ways", "dataset": "ways", **REQUEST}))
    code, out, _ = command("submit", "--file", str(tmp_path / "job.json"), "--fresh", "--wait", "--json")
    id = json.loads(out)["id"]
    assert code == 0
    assert command("result", id, "--format", "npz", "--output", str(tmp_path / "arrays.npz"))[0] == 0
    _check_equal(unitrank.load(tmp_path / "arrays.npz"), direct)


def test_notebook_when_its_cell_is_run_then_shows_a_leaderboard(url: str, network: nn.Module, table: dict[str, Any]) -> None:
    (cell,) = re.findall(r"^```py\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    with notebook(network=network, **table) as page:
        page_html = page.cell(cell.replace("http://127.0.0.1:8000", url))["text/html"]
        picture = page.cell("result.plot_ablation()")["image/png"]
        page.user_ns["client"].close()

    assert len(cell.strip().splitlines()) <= 9
    assert "better than random" in page_html
    assert "<td>conductance</td>" in page_html
    assert picture.startswith(b"\x89PNG")


def test_files_when_written_by_result_then_compare_and_gate_read_them(
    direct: unitrank.JobResult, tmp_path: Path, command: Command
) -> None:
    id = direct.summary.job
    files = {form: str(tmp_path / f"result.{form}") for form in ("json", "npz", "csv", "safetensors", "md")}
    for form, file in files.items():
        assert command("result", id, "--format", form, "-o", file).code == 0
    by_arrays = command("compare", files["npz"], id, "--json")
    by_verdicts = command("compare", files["json"], files["npz"], "--json")

    assert json.loads(by_arrays.out)[0]["correlations"] == {name: pytest.approx(1) for name in ("0", "1", "2")}
    assert json.loads(by_verdicts.out)[0]["verdicts"][0] is not None
    assert json.loads(by_verdicts.out)[0]["correlations"] == {}
    assert "no rank correlation: it needs the arrays of both results" in command("compare", files["json"], files["npz"]).err
    for form, file in files.items():
        output = command("gate", file, "--max-p", "1")
        assert output.code == (0 if form in ("json", "npz") else 2), form
        assert output.code == 0 or "does not hold a result" in output.err


def test_commands_when_followed_from_a_network_to_a_gate_then_each_prints_and_exits_as_documented(
    direct: unitrank.JobResult, network: nn.Module, table: dict[str, Any], tmp_path: Path, command: Command
) -> None:
    unitrank.export(network, table["x"][:1], tmp_path / "net.pt2")
    np.savez(tmp_path / "data.npz", **table)
    (tmp_path / "job.yaml").write_text("model: typed\nlayer: '1'\ndataset: typed\nmethods: [gradient]\n")
    flags = ["--method", '{"name": "conductance", "steps": 4}', "--clusters", "label", "--set", "seed=3"]
    submit = ["submit", "-f", str(tmp_path / "job.yaml"), *flags]

    assert command("put-model", "typed", str(tmp_path / "net.pt2"))[0] == 0
    assert json.loads(command("put-dataset", "typed", str(tmp_path / "data.npz"), "--json").out)["examples"] == HEAD
    assert "1" in [layer["name"] for layer in json.loads(command("layers", "typed", "--json").out)]
    assert "conductance" in command("methods").err
    assert json.loads(command(*submit, "--dry-run", "--json").out)["request"]["seed"] == 3
    id = command(*submit).out.strip()
    assert command("wait", id, "--timeout", "2m").err.count("conductance") == 1
    assert json.loads(command("status", id, "--json").out)["status"] == "succeeded"
    assert id in [job["id"] for job in json.loads(command("list", "--model", "typed", "--json").out)]
    assert command("cancel", id)[0] == 0
    assert json.loads(command("result", id, "--top", "3").out)["rankings"][0]["method"]["steps"] == 4
    assert command("result", id, "--format", "csv", "--top", "3").out.startswith("cluster,ranking,rank")
    assert "| conductance |" in command("result", id, "--format", "md").out
    assert json.loads(command("compare", id, id, "--json").out)[0]["correlations"].keys() == {"0", "1", "2"}
    assert command("gate", id, "--max-gap", "0.5", "--max-p", "1").code == 0
    unmet = command("gate", id, "--max-p", "0.001", "--json")
    assert (unmet.code, json.loads(unmet.out)["met"]) == (1, False)
    checks = {each["what"]: each for each in json.loads(command("doctor", "--json").out)}
    assert checks["service"]["good"]
    assert checks["key"]["said"] == "scopes read, write, models"


def test_commands_when_they_fail_then_print_the_reason_and_exit_as_documented(
    direct: unitrank.JobResult, url: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ["submit", "--model", "ways", "--dataset", "ways", "--layer", "1", "--set", 'ablation={"random": 5000}', "--fresh"]
    assert command("status", "none").code == 2
    rejected = command("submit", "--model", "ways", "--dataset", "ways", "--layer", "nein", "--method", "gradient")
    assert (rejected.code, "layer_not_found" in rejected.err, "/layer" in rejected.err) == (2, True, True)
    assert command("submit").code == 2
    assert command("wait", direct.summary.job, "--timeout", "soon").code == 2
    many = [word for number in range(16) for word in ("--method", json.dumps({"name": "conductance", "steps": 5000 + number}))]
    late = command(*slow, *many, "--wait", "--timeout", "0")
    assert late.code == 124
    id = re.findall(r"job (\w+) is still", late.err)[0]
    assert command("cancel", id).code == 0
    assert command("wait", id, "--timeout", "60").code == 1
    monkeypatch.setenv("UNITRANK_URL", "http://127.0.0.1:1")
    assert command("doctor").code == 3


def _check_equal(result: unitrank.JobResult, direct: unitrank.JobResult, exactly: bool = True) -> None:
    assert result.arrays.keys() == direct.arrays.keys()
    for name, values in direct.arrays.items():
        if exactly:
            np.testing.assert_array_equal(result.arrays[name], values, err_msg=name)
        else:
            np.testing.assert_allclose(result.arrays[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    assert [(leader.ranking, leader.verdict) for leader in result.leaderboard] == [
        (leader.ranking, leader.verdict) for leader in direct.leaderboard
    ]
