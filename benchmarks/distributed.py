"""The overhead of handing out ranges: 64 warm actors that sleep, on one machine.

    python -m benchmarks.distributed [--actors 64] [--ranges 640] [--seconds 1.0] [--repeats 3]

Needs `unitrank[ray]`. The start of Ray and of the actors is not part of the time.
"""

import argparse
import os
import secrets
import statistics
import time

import numpy as np
import psutil

from benchmarks.support.goals import report_missed
from unitrank_tables.range_result import RangeResult
from unitrank_tables.sizes import MiB
from unitrank_worker.distributed.division import Division
from unitrank_worker.distributed.node import NodeFacts
from unitrank_worker.distributed.on_ray.nodes import RayNodes
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

PAYLOAD = RangeResult({"sums": np.ones(1000)}).encode()
GOAL = 0.02
"""Largest part of the time, at 1 s a range, that handing out may add."""


class Sleeping:
    """An actor that sleeps instead of computing."""

    def __init__(self, seconds: str, device: str) -> None:
        self._seconds = float(seconds)

    def facts(self) -> NodeFacts:
        """As `RayNode.facts`."""
        return NodeFacts.here()

    def compute(self, key: str, step: Step, index: int, references: object) -> Outcome:
        """Sleep, and return 1000 numbers."""
        time.sleep(self._seconds)
        return Outcome("computed", PAYLOAD, {"rows": 1, "progress": None})

    def interrupt(self, key: str) -> None:
        """As `RayNode.interrupt`."""

    def finish(self, key: str) -> None:
        """As `RayNode.finish`."""


def main() -> None:
    """Print the overhead of each pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=64, help="number of actors")
    parser.add_argument("--ranges", type=int, default=640, help="number of ranges of a pass")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds that a range takes")
    parser.add_argument("--repeats", type=int, default=3, help="number of passes")
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
    ideal = -(-options.ranges // options.actors) * options.seconds
    overheads = [_pass(nodes, options.ranges, str(number)) / ideal - 1 for number in range(options.repeats)]
    for overhead in overheads:
        print(f"{options.ranges} ranges of {options.seconds:g} s: {ideal * (1 + overhead):.2f} s, {100 * overhead:.1f} % more")
    median = statistics.median(overheads)
    print(f"median {100 * median:.1f} %, goal {100 * GOAL:.0f} % at 1 s a range")
    report_missed([f"{options.ranges} ranges: {100 * median:.1f} %, not {100 * GOAL:.0f} %"] if median > GOAL else [])


def _pass(nodes: RayNodes, ranges: int, key: str) -> float:
    """The seconds of a pass. Prints what it costs this process."""
    division = Division(JobHead(key, "tenant", {}), nodes, lambda content, payload=b"": None, most_bytes=MiB)
    memory, began, spent = psutil.Process().memory_info().rss, time.monotonic(), time.process_time()
    division.begin_pass({"pass": "attribution", "ranges": ranges})
    while division.running:
        for done in nodes.wait(0.05):
            division.take(done)
        division.hand_out()
    seconds = time.monotonic() - began
    grown = (psutil.Process().memory_info().rss - memory) / MiB
    print(f"the driver used {time.process_time() - spent:.2f} s of CPU, and grew by {grown:.1f} MiB")
    nodes.stop(key)
    return seconds


if __name__ == "__main__":
    main()
