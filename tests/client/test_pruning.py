"""A mask, applied to the user's own module, gives the accuracy that the job predicted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import unitrank
from unitrank.cli.main import app
from unitrank.pruning import mask_of

FRACTIONS = [0.1, 0.3, 0.6]


class Net(nn.Module):
    """The ReLU runs twice; its second call is the layer `act@1`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.fc1, self.fc2 = nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Linear(96, 20), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(self.act(self.conv(x)).flatten(1))))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(2)
    return Net().eval()


@pytest.fixture(scope="module")
def data(net: Net) -> tuple[Tensor, Tensor]:
    """Images, and labels that the net predicts for three of four images."""
    x = torch.randn(160, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = net(x).argmax(1)
    y[::4] = (y[::4] + 1) % 4
    return x, y


def job(net: Net, data: tuple[Tensor, Tensor], layer: str, labels: bool = True, **request: Any) -> unitrank.JobResult:
    x, y = data
    ablation = {"fill": "zero", "fractions": FRACTIONS, "random": 5, "check_fill": None} | request.pop("ablation", {})
    options = {"clusters": {"by": "all"}, "methods": ["gradient_x_activation"], "fidelity": None} | request
    return unitrank.rank(net, layer, x, y if labels else None, ablation=ablation, **options)


def accuracy(module: nn.Module, data: tuple[Tensor, Tensor], result: unitrank.JobResult) -> float:
    x, y = data
    rows = torch.from_numpy(np.array(result.arrays["tests/rows"]))
    with torch.no_grad():
        return float((module(x[rows]).argmax(1) == y[rows]).double().mean())


@pytest.mark.check
@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("conv", {"units": "channel"}),
        ("act", {}),
        ("act@1", {}),
        ("fc2", {"at": "input"}),
    ],
)
def test_mask_when_applied_to_the_module_then_gives_the_predicted_accuracy(
    layer: str, options: dict[str, Any], net: Net, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    result = job(net, data, layer, **options)
    model = Net().eval()
    model.load_state_dict(net.state_dict())

    mask = result.mask(0.6)
    exec(compile(mask.snippet(mask.save(tmp_path / "mask.safetensors")), "snippet", "exec"), {"model": model})

    least = result.rankings["gradient_x_activation"].clusters["all"].ablation.least
    assert mask.accuracy == least.accuracy[-1]
    assert accuracy(model, data, result) == pytest.approx(mask.accuracy, abs=1e-9)
    assert accuracy(net, data, result) != pytest.approx(mask.accuracy, abs=1e-9)
    assert mask.removed == int(0.6 * result.layer.count)
    kept = np.broadcast_to(mask.keep[0], result.layer.shape if options.get("units") != "channel" else mask.keep[0].shape)
    assert int((kept == 0).sum()) == mask.removed


@pytest.mark.parametrize(
    ("remove", "options", "message"),
    [
        (0.2, {}, "did not test removing 0.2 of the units; use one of 0.1, 0.3, 0.6"),
        (0.3, {"labels": False}, "has no labels, so it cannot predict the accuracy"),
        (0.3, {"ablation": {"fill": "mean"}}, "did not replace units by zeros"),
        (0.3, {"ablation": {"orders": ["most"]}}, "did not replace the least important units of cluster 'all'"),
    ],
)
def test_mask_when_the_job_did_not_test_it_then_says_what_is_missing(
    remove: float, options: dict[str, Any], message: str, net: Net, data: tuple[Tensor, Tensor]
) -> None:
    result = job(net, data, "act@1", **options)

    with pytest.raises(unitrank.NotPossible, match=message) as error:
        result.mask(remove)

    assert '"fill": "zero"' in str(error.value)


def test_mask_when_names_are_unknown_or_missing_then_lists_them(net: Net, data: tuple[Tensor, Tensor]) -> None:
    two = job(net, data, "act@1", clusters={"by": "members", "members": {"a": list(range(80)), "b": list(range(80, 160))}})

    for arguments, message in (
        ({}, "has 2 clusters, each with its own order of units; choose one: a, b"),
        ({"cluster": "c"}, "cluster 'c' not found; use one of a, b"),
        ({"cluster": "a", "ranking": "other"}, "ranking 'other' not found"),
    ):
        with pytest.raises(unitrank.NotPossible, match=message):
            mask_of(two, 0.3, **arguments)
    assert two.mask(0.3, cluster="b").cluster == "b"


def test_command_when_called_then_writes_the_mask_and_prints_the_code(
    net: Net, data: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job(net, data, "act@1").save("job.npz")

    done = CliRunner().invoke(app, ["mask", "job.npz", "--remove", "0.3"])

    assert done.exit_code == 0, done.output
    assert "6 of 20 units of act@1 are removed: the accuracy on the test examples of cluster 'all' is" in done.stderr
    model = Net().eval()
    exec(compile(done.stdout, "snippet", "exec"), {"model": model})
    assert (tmp_path / "mask.safetensors").is_file()


def test_words_when_too_many_units_are_removed_then_say_so(net: Net, data: tuple[Tensor, Tensor]) -> None:
    few = job(net, data, "act@1").mask(0.6)
    many = job(net, data, "act@1", ablation={"tolerance": 0.5}).mask(0.1)

    assert few.removable_at is None
    assert "too few test examples to say how many units can be removed" in str(few)
    assert str(many).endswith("The job calls up to 12 units removable.")
