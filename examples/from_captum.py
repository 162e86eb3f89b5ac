"""Prints the numbers of docs/from-captum.md: scores of Captum beside those of the same job.

Needs Captum: `pip install captum`. Run `python examples/from_captum.py`; the script takes 20
seconds.
"""

import json
import warnings
from collections.abc import Callable
from typing import Any

import captum_rows as rows
import numpy as np
import torch
from captum.attr import DeepLift, LayerConductance
from captum_rows import STARTS, Row, X, Y
from torch import Tensor, nn
from torch.nn import functional
from trap import data, train

import unitrank

SCORES: dict[str, Any] = {"clusters": {"by": "all"}, "ablation": None, "fidelity": None}
METHODS: list[Any] = ["conductance", "gradient", {"name": "gradient", "statistic": "mean_abs"}]


class Between(nn.Module):
    """An operation between two dense layers."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 6), middle, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class SubclassedReLU(nn.ReLU):
    """Captum looks rules up by the exact class."""


def main() -> None:
    example()
    print()
    compare([*rows.of_layers(), *rows.of_defaults()], rows.NET, "relu1", X, Y)
    compare(rows.of_zennit() + rows.of_inputs(), rows.NET, "input", X, Y)
    compare(rows.of_heatmaps(), rows.NET, "relu1", X, Y)
    compare(rows.of_neurons(), rows.NET[:7], "input", X, target={"class": rows.NEURON})
    compare(rows.of_one_neuron(), rows.NET, "relu3", X, Y)
    compare(rows.of_relevance(), rows.PLAIN, "input", X.flatten(1), Y)
    x, y = torch.cat([X, STARTS]), torch.cat([Y, torch.zeros(len(STARTS), dtype=torch.long)])
    background = {
        "fields": {"start": np.array(rows.IS_START)},
        "baseline": {"kind": "examples", "count": len(STARTS), "where": "start"},
        "clusters": {"by": "members", "members": {"all": list(range(len(X)))}},
    }
    compare(rows.of_backgrounds(), rows.NET, "input", x, y, **background)
    compare(rows.of_layer_backgrounds(), rows.NET, "relu1", x, y, **background)
    print()
    incomplete()


def example() -> None:
    """From Captum's attributions to a verdict."""
    network, (x, y) = train(2), data(400, 3)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    attribution = LayerConductance(network, network[1]).attribute(images, target=labels, method="riemann_trapezoid", n_steps=20)
    print(f"Captum's first units   {attribution.mean(0).topk(5).indices.tolist()}")

    left = {"name": "conductance", "rule": "left", "spacing": "uniform", "steps": 20, "id": "captums"}
    result = unitrank.rank(network, "1", x, y, methods=[left, *METHODS], clusters={"by": "all"}, keep_examples=len(x))
    print(f"the job's first units  {[unit.unit for unit in result.top(5, 'captums')['all']]}")
    print(f"largest difference     {shown(difference(attribution, result.arrays['examples/captums/all']))}")
    for leader in result.leaderboard:
        study = result.ablation[leader.ranking]["all"]
        print(f"{leader.ranking:<18} p = {study.p_value:.2f}  {study.verdict}")


def compare(table: list[Row], network: nn.Module, layer: str, x: Tensor, y: Tensor | None = None, **request: Any) -> None:
    """Prints a row of a table for each: name, entry, and the largest difference.

    The difference is a share of the largest score.
    """
    methods = [{**row.entry, "id": f"row{index}"} for index, row in enumerate(table)]
    result = unitrank.rank(network, layer, x, y, methods=methods, keep_examples=len(x), **SCORES | request)
    for index, row in enumerate(table):
        # Captum draws from the global generators of torch and numpy.
        torch.manual_seed(0)
        np.random.seed(0)
        theirs, ours = quiet(row.theirs), row.read(result.arrays[f"examples/row{index}/all"])
        entry = json.dumps(row.entry if len(row.entry) > 1 else row.entry["name"])
        print(f"| {row.name} | {entry} | {shown(difference(theirs, ours), row.bound)} |")


def incomplete() -> None:
    """Prints a row for each network on which Captum's DeepLIFT leaves a gap: Captum's and ours."""
    torch.manual_seed(0)
    middles = {
        "functional.relu": functional.relu,
        "subclass of nn.ReLU": SubclassedReLU(),
        "nn.GELU": nn.GELU(),
        "nn.LayerNorm": nn.LayerNorm(6),
        "nn.Softmax": nn.Softmax(1),
    }
    x, start = 2 * torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    methods, fields = [rows.RESCALE], {"start": start}
    for name, middle in middles.items():
        net = Between(middle).eval()
        change = (net(x) - net(start))[:, 0].detach()
        captums = quiet(lambda: DeepLift(net).attribute(x, start, target=0))  # noqa: B023
        baseline = {"kind": "field", "field": "start"}
        job = unitrank.rank(
            net, "input", x, methods=methods, fields=fields, baseline=baseline, target={"class": 0}, keep_examples=len(x), **SCORES
        )
        ours = torch.from_numpy(job.arrays["examples/deeplift/all"])
        print(f"| {name} | {shown(gap(captums, change))} | {shown(gap(ours, change))} |")


def quiet(compute: Callable[[], Tensor]) -> Tensor:
    with warnings.catch_warnings():
        # Captum warns about its own hooks and about inputs that need no gradient.
        warnings.simplefilter("ignore")
        return compute().detach()


def gap(scores: Tensor, change: Tensor) -> float:
    """|sum of the scores − change of F| of the worst example, as a share of the largest change."""
    return float((scores.flatten(1).sum(1) - change).abs().max() / change.abs().max())


def difference(theirs: Tensor, ours: np.ndarray) -> float:
    want = theirs.detach().numpy()
    return float(np.abs(ours.reshape(want.shape) - want).max() / np.abs(want).max())


def shown(value: float, bound: str = "1e-5") -> str:
    """The value with two digits; a smaller value than the bound differs between machines."""
    return f"< {bound}" if value < float(bound) else f"{value:.2g}"


if __name__ == "__main__":
    main()
