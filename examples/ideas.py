"""The numbers of docs/ideas.md: each idea once, on the network of examples/trap.py, which says which half of ten numbers is larger.

Run `python examples/ideas.py`; it takes seconds.
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
    (everyone,) = mixed.clusters
    print(f"{everyone.examples} examples, {everyone.accuracy:.1%} right, the label's logit is {everyone.score:.2f} in the mean")
    for unit in mixed.top(3, "conductance")["all"]:
        print(f"unit {unit.unit:>2}: importance {unit.importance:.3f}, spread {unit.spread:.3f}")

    for id in ("one_step", "conductance"):
        found = mixed.rankings[id].clusters["all"].completeness
        assert found is not None
        print(
            f"{id:<12} scores sum to {found.sum:.3f}, F(x) - F(x') is {found.expected:.3f}, relative gap {found.relative_gap:.1%}"
        )

    apart = unitrank.rank(network, LAYER, x, y, methods=["gradient"], clusters={"by": "label"}, ablation=None)
    for result in (mixed, apart):
        for name, cluster in result.rankings["gradient"].clusters.items():
            print(f"gradient, cluster {name:<4} {cluster.cancellation:.0%} of the scores' size is lost in the mean")

    print("units replaced        " + "".join(f"{count:>8}" for count in (0, *mixed.ablation["conductance"]["all"].counts)))
    for id in ("conductance", "gradient"):
        print(f"{id:<22}" + "".join(f"{score:>8.2f}" for score in mixed.arrays[f"ablation/{id}/most"][0]))
    controls = mixed.arrays["ablation/random"][0]
    print(f"{f'{len(controls)} random orders, mean':<22}" + "".join(f"{score:>8.2f}" for score in controls.mean(0)))

    for id, ranking in mixed.rankings.items():
        study, fidelity = mixed.ablation[id]["all"], ranking.fidelity
        assert fidelity is not None
        print(f"{id:<18} p = {study.p_value:.2f}  {study.verdict}")
        print(f"{'':<18} off by {fidelity.mae:.2f}; predicting nothing is off by {fidelity.mae_of_zero:.2f}")


if __name__ == "__main__":
    main()
