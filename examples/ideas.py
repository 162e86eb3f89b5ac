"""Prints the numbers of docs/ideas.md, which explains each idea of Unitrank once.

The network of examples/trap.py classifies which half of ten numbers has the larger sum. Run
`python examples/ideas.py`; the script takes 9 seconds.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from trap import data, train

import unitrank

SEED = 2
LAYER = "1"
METHODS: list[Any] = [
    {"name": "conductance", "steps": 1, "id": "one_step"},
    "conductance",
    "gradient_x_delta",
    "gradient",
    {"name": "gradient", "statistic": "mean_abs"},
]


def main() -> None:
    network, (x, y) = train(SEED), data(400, SEED + 1)
    with TemporaryDirectory() as folder:
        manifest = unitrank.export(network, torch.zeros(1, 10), Path(folder, "trap.pt2"))
    for layer in manifest.layers:
        print(f"place {layer.name!r:<8} {layer.kind or '':<7} {layer.units:>3} units{', a cut' if layer.cut else ''}")

    mixed = unitrank.rank(network, LAYER, x, y, methods=METHODS, clusters={"by": "all"}, ablation={"fractions": [0.1, 0.2, 0.5]})
    (cluster,) = mixed.clusters
    print(f"{cluster.examples} examples, {cluster.accuracy:.1%} classified correctly, mean logit of the label {cluster.score:.2f}")
    for unit in mixed.top(3, "conductance")["all"]:
        print(f"unit {unit.unit:>2}: importance {unit.importance:.3f}, spread {unit.spread:.3f}")

    for id in ("one_step", "conductance"):
        check = mixed.rankings[id].clusters["all"].completeness
        assert check is not None
        print(
            f"{id:<12} scores sum to {check.sum:.3f}, F(x) - F(x') is {check.expected:.3f}, relative gap {check.relative_gap:.1%}"
        )

    by_label = unitrank.rank(network, LAYER, x, y, methods=["gradient"], clusters={"by": "label"}, ablation=None)
    for result in (mixed, by_label):
        for name, ranked in result.rankings["gradient"].clusters.items():
            print(f"gradient, cluster {name:<4} {ranked.cancellation:.0%} of the scores' size cancels in the mean")

    print("units replaced        " + "".join(f"{count:>8}" for count in (0, *mixed.ablation["conductance"]["all"].counts)))
    for id in ("conductance", "gradient"):
        print(f"{id:<22}" + "".join(f"{score:>8.2f}" for score in mixed.arrays[f"ablation/{id}/most"][0]))
    controls = mixed.arrays["ablation/random"][0]
    print(f"{f'{len(controls)} random orders, mean':<22}" + "".join(f"{score:>8.2f}" for score in controls.mean(0)))

    for id, ranking in mixed.rankings.items():
        study, fidelity = mixed.ablation[id]["all"], ranking.fidelity
        assert fidelity is not None
        print(f"{id:<18} p = {study.p_value:.2f}  {study.verdict}")
        print(f"{'':<18} prediction error {fidelity.mae:.2f}; predicting no change has the error {fidelity.mae_of_zero:.2f}")


if __name__ == "__main__":
    main()
