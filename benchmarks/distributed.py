"""The overhead of handing out ranges: 64 warm actors that sleep, on one machine.

    python -m benchmarks.distributed [--actors 64] [--ranges 640] [--seconds 1.0]

Needs `unitrank[ray]`. The start of Ray and of the actors is not part of the time.
"""

import argparse
import os
import resource
import secrets
import time

import numpy as np

from unitrank_tables.range_result import RangeResult
from unitrank_worker.distributed.division import Division
from unitrank_worker.distributed.node import NodeFacts
from unitrank_worker.distributed.ray_nodes import RayNodes
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

PAYLOAD = RangeResult({"sums": np.ones(1000)}).encode()


class Sleeping:
    """An actor that sleeps instead of computing."""

    def __init__(self, seconds: str, device: str) -> None:
        self._seconds = float(seconds)

    def facts(self) -> NodeFacts:
        """As `RayNode.facts`."""
        return NodeFacts.here()

    def compute(self, head: JobHead, step: Step, index: int, references: object) -> Outcome:
        """Sleep, and return 1000 numbers."""
        time.sleep(self._seconds)
        return Outcome("computed", PAYLOAD, {"rows": 1, "progress": None})


def main() -> None:
    """Print the overhead of one pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=64)
    parser.add_argument("--ranges", type=int, default=640)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    import ray

    ray.init("local", num_cpus=options.actors, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    nodes = RayNodes(lambda: None, str(options.seconds), NodeFacts.here(), lambda: ray.remote(Sleeping))
    began = time.monotonic()
    nodes.begin()
    while nodes.count < options.actors:
        nodes.refresh()
        nodes.wait(0.1)
    print(f"{options.actors} actors started in {time.monotonic() - began:.1f} s")
    division = Division(JobHead("job", "tenant", {}), nodes, lambda content, payload=b"": None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    division.begin_pass({"pass": "attribution", "ranges": options.ranges})
    while division.running:
        for done in nodes.wait(0.05):
            division.take(done)
        division.hand_out()
    spent = time.monotonic() - began
    ideal = -(-options.ranges // options.actors) * options.seconds
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{options.ranges} ranges of {options.seconds:g} s: {spent:.2f} s; {100 * (spent / ideal - 1):.1f} % more than {ideal:g} s"
    )
    print(f"memory of the driver grew by {grown:.0f} MiB")


if __name__ == "__main__":
    main()
