"""Measure how often the verdict calls noise better: `python -m benchmarks.calibration`.

A regime is a kind of job whose verdict could be wrong. The jobs of a regime differ in their seeds.
A seed draws the examples, the halves, the random orders and the scores. Each share has its
Clopper–Pearson interval. The command exits with 1 if noise is called better in more than
5 % + 3 standard errors of a regime's jobs.

results.json has the records. The command replaces the records of the regimes that it measures, and
writes the tables of docs/verdict.md again. With `--folder` it writes results.json only, and there.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import torch
from docs.generate import calibration_tables

from benchmarks.calibration.record import MEASURES, Record, measure, over_limit, read, write

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, help="number of jobs for each regime; usually 200 to 1000, with 1 to 10 rankings")
    parser.add_argument("--only", nargs="*", choices=sorted(MEASURES), metavar="NAME", help="measure only these regimes")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="folder for results.json; the page stays as it is")
    arguments = parser.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    results = arguments.folder / RESULTS.name if arguments.folder else RESULTS
    names, over = arguments.only or list(MEASURES), []
    for record in _measured(names, arguments.jobs, arguments.processes):
        earlier = [each for each in read(results) if each["name"] != record["name"] and each["name"] in MEASURES]
        write(results, [*earlier, record])
        if not arguments.folder:
            calibration_tables.write(ROOT)
        over += [record["name"]] if over_limit(record) else []
    if over:
        sys.exit(f"noise is called better in more than 5 % + 3 standard errors: {', '.join(over)}")


def _measured(names: list[str], jobs: int | None, processes: int) -> Iterator[Record]:
    began = perf_counter()
    torch.set_num_threads(1)
    if processes == 1:
        yield from (_shown(measure(name, jobs), began) for name in names)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for record in pool.map(measure, names, [jobs] * len(names)):
            yield _shown(record, began)


def _shown(record: Record, began: float) -> Record:
    shares = "; ".join(
        f"{name} {share['count'] / share['of']:.1%} ({share['low']:.1%}–{share['high']:.1%}) of {share['of']}"
        for name, share in record["shares"].items()
    )
    print(f"{perf_counter() - began:7.0f} s  {record['name']}: {shares}", flush=True)
    return record


if __name__ == "__main__":
    main()
