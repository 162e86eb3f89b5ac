"""Compute the paper's table over HTTP: mean |predicted − actual change| on 10 000 MNIST images.

arXiv:1807.09946, Fig. 1: all-convolutional network, raw inputs 0–255, zero baseline. The target is
the centred logit of the predicted class. A tenth of the units after each ReLU, those with the
largest |h − h'|, gets the value at the baseline.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from examples.paper import DATA_HELP, EXPECTED, LAYERS, REQUEST, methods, network

from benchmarks.support.running import running
from unitrank.client.sync import Client
from unitrank.exporting import export
from unitrank_schemas.results import Result

TOLERANCE = 1e-4
PAPER_SECONDS = {"conductance-10": 564.0, "conductance-100": 1083.0, "deeplift": 15.3}
"""Seconds of the paper's own runs, as printed there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=DATA_HELP)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 100], choices=[10, 100], help="steps of conductance")
    arguments = parser.parse_args()
    if arguments.data is None:
        print(f"skipped: --data is missing: {DATA_HELP}")
        return
    with running() as url:
        rows = measure(url, arguments.data, arguments.steps)
    print(f"{'layer':6} {'ranking':18} {'measured':>10} {'expected':>10} {'differs':>9} {'s':>7} {'paper s':>8}")
    for layer, ranking, measured, seconds in rows:
        expected = EXPECTED[layer, ranking]
        difference = measured / expected - 1
        mark = "" if abs(difference) <= TOLERANCE else "  DIFFERS BY MORE THAN 0.01 %"
        paper = f"{PAPER_SECONDS[ranking]:8.1f}" if ranking in PAPER_SECONDS else ""
        print(f"{layer:6} {ranking:18} {measured:10.4f} {expected:10.4f} {difference:+9.4%} {seconds:7.1f} {paper}{mark}")
    print("s: seconds from POST to result of a job with only this method; paper s: seconds of the paper's own run")


def measure(url: str, data: Path, steps: list[int]) -> list[tuple[str, str, float, float]]:
    """Layer, ranking, mean absolute error and seconds of a job for each method of the table.

    `steps`: the numbers of steps of conductance.
    """
    with Client(url, timeout=120) as client, tempfile.TemporaryDirectory() as folder:
        export(network(data), torch.zeros(2, 1, 28, 28), Path(folder) / "allconv.pt2")
        client.models.put("allconv", Path(folder) / "allconv.pt2")
        client.datasets.put("mnist-t10k", data / "t10k.npz")
        return [_measure_job(client, layer, method) for layer in LAYERS for method in methods(steps)]


def _measure_job(client: Client, layer: str, method: dict[str, Any]) -> tuple[str, str, float, float]:
    began = time.monotonic()
    (ranking,) = _run(client, layer, method).rankings
    assert ranking.fidelity is not None
    return layer, ranking.id, ranking.fidelity.mae, time.monotonic() - began


def _run(client: Client, layer: str, method: dict[str, Any]) -> Result:
    request = {"model": "allconv", "layer": layer, "dataset": "mnist-t10k", "methods": [method], **REQUEST}
    return client.jobs.submit(request).wait().summary()


if __name__ == "__main__":
    main()
