"""The client, the command line and the tools for assistants on a job with several layers."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import unitrank
from unitrank.cli.main import app
from unitrank.client.sync import Client
from unitrank.mcp.tools import Tools

LAYERS = ["relu1", "relu2"]
METHODS = ["gradient", "conductance"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.relu1, self.fc2, self.relu2 = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU()
        self.end = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.relu2(self.fc2(self.relu1(self.fc1(x)))))


@pytest.fixture(scope="module")
def job(url: str) -> str:
    """The id of a job on two layers and their units together, which has succeeded."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    with Client(url) as client:
        client.models.put("layered-client", Net(), example_inputs=torch.from_numpy(x[:2]))
        client.datasets.put("layered-client", x=x, y=np.arange(60) % 2)
        handle = client.jobs.submit(
            model="layered-client", dataset="layered-client", layer=LAYERS, methods=METHODS, joint=True, ablation={"random": 19}
        )
        return handle.wait(120, quiet=True).id


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", url])


def test_result_when_fetched_then_each_layer_is_a_result_of_its_own(client: Client, url: str, job: str) -> None:
    handle = client.jobs.get(job)
    result = handle.result(quiet=True)

    async def fetched() -> unitrank.JobResult:
        async with unitrank.AsyncClient(url) as service:
            return await (await service.jobs.get(job)).result(quiet=True)

    assert isinstance(result, unitrank.LayeredJobResult)
    assert list(result) == list(asyncio.run(fetched())) == LAYERS
    assert [line.layer for line in result.table()] == [*LAYERS, "joint"]
    assert result["relu2"].importances()["all"].shape == (5,)
    assert handle.summary(layer="relu2") == result["relu2"].summary
    assert handle.layered_summary() == handle.any_summary() == result.layered_summary
    assert handle.unit(4, layer="relu2").unit == 4
    with pytest.raises(
        unitrank.NotPossible, match="so give `layer` \\(one of 'relu1', 'relu2', 'joint'\\), or use `layered_summary`"
    ):
        handle.summary()
    with pytest.raises(unitrank.UnitrankError, match="layer 'relu9' not found"):
        handle.summary(layer="relu9")


def test_submit_when_layers_are_repeated_then_the_job_ranks_them_and_the_table_is_printed(url: str) -> None:
    options = ["--model", "layered-client", "--dataset", "layered-client", "--method", "gradient", "--wait", "--json"]
    two = run(url, "submit", *options, "--layer", "relu1", "--layer", "relu2", "--joint")
    pattern = run(url, "submit", *options[:-1], "--layer", "relu*", "--set", "fidelity=null")
    one = run(url, "submit", *options, "--layer", "relu1", "--set", "ablation=null")

    request = json.loads(two.stdout)["request"]
    assert (request["layer"], request["joint"]) == (LAYERS, True)
    assert [line.split()[0] for line in pattern.stderr.splitlines()[-2:]] == LAYERS
    assert json.loads(one.stdout)["request"]["layer"] == "relu1"


def test_result_command_when_a_job_has_several_layers_then_one_is_chosen_or_all_are_shown(
    url: str, job: str, tmp_path: Path
) -> None:
    table = run(url, "result", job, "--format", "md").stdout
    one = run(url, "result", job, "--format", "md", "--layer", "relu2").stdout
    rows = run(url, "result", job, "--format", "csv", "--layer", "relu2").stdout.splitlines()
    all_rows = run(url, "result", job, "--format", "csv").stdout.splitlines()

    assert "| relu1 | 6 |" in table
    assert "| all layers together | 11 |" in table
    assert "### Units of `relu2`: 5, 1 cluster" in one
    assert len(rows) == 1 + 5 * len(METHODS)
    assert all_rows[0].startswith("layer,")
    for layer, names in ((None, LAYERS), ("relu2", ["relu2"])):
        chosen = ["--layer", layer] if layer else []
        file = tmp_path / f"{layer}.npz"
        assert run(url, "result", job, "--format", "npz", "--output", str(file), *chosen).exit_code == 0
        assert list(unitrank.load(file)) == names
    wrong = run(url, "result", job, "--format", "safetensors", "--layer", "relu2", "--output", str(tmp_path / "x"))
    assert "use npz with --layer" in str(wrong.exception)


def test_gate_when_a_job_has_joint_then_it_decides_unless_a_layer_is_named(url: str, job: str) -> None:
    checked = [
        json.loads(run(url, "gate", job, "--min-area", "-99", "--json", *layer).stdout) for layer in ([], ["--layer", "relu2"])
    ]

    assert [[check["layer"] for check in each["checks"]] for each in checked] == [["joint"], ["relu2"]]
    assert "layer" in run(url, "gate", job, "--min-area", "-99").stderr.splitlines()[0]


def test_mask_and_compare_when_a_job_has_several_layers_then_they_take_one_or_each(url: str, job: str, tmp_path: Path) -> None:
    file = tmp_path / "relu2.npz"
    run(url, "result", job, "--format", "npz", "--output", str(file), "--layer", "relu2")
    compared = json.loads(run(url, "compare", job, job, "--json").stdout)
    with_layer = json.loads(run(url, "compare", job, str(file), "--json").stdout)

    assert "choose one with --layer: relu1, relu2, joint" in str(run(url, "mask", job, "--remove", "0.5").exception)
    assert [each["layer"] for each in compared] == [name for name in [*LAYERS, "joint"] for _ in METHODS]
    assert {each["layer"] for each in with_layer} == {"relu2"}
    assert all(each["agreement"]["spearman"] == pytest.approx(1) for each in [*compared, *with_layer])


def test_tools_when_an_assistant_ranks_several_layers_then_it_reads_the_table_and_one_layer(client: Client, job: str) -> None:
    tools = Tools(client)

    assert "| relu2 | 5 |" in tools.read_verdict(job)
    assert "### Units of `relu2`" in tools.read_verdict(job, "relu2")
    assert "layer relu1, relu2, dataset layered-client" in tools.list_jobs()
    checked = tools.check_job("layered-client", LAYERS, "layered-client", ["gradient"], options={"joint": True})
    assert '"layer": ["relu1", "relu2"]' in checked
    options = {"joint": True, "ablation": {"random": 19}}
    assert "succeeded" in tools.start_job("layered-client", LAYERS, "layered-client", METHODS, options=options)
