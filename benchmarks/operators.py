"""Run random networks between guard pages: `python -m benchmarks.operators`. It needs gcc.

Each network calls a few operators of the allow-list, and its archive has random changes. The
archive passes the inspection of an upload. An archive that is accepted runs as in a job: forward
and gradients, at several batch sizes, with random data. Each allocation is beside a page without
access, so that a read or write beyond a tensor ends the process. The job runs once more with other
numbers in new memory; both results must have the same bits.

A network is a finding if the process ends, if it takes too long, or if its results differ.
The same `--seed` and number always make the same network: `--only` runs one number.
"""

import argparse
import logging
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from random import Random
from tempfile import TemporaryDirectory

import torch
from tests.mutants.operators.mutations import mutate
from tests.mutants.operators.networks import archive, network
from tests.mutants.operators.table import CALLS

from benchmarks.support.attempts import FINDING, attempt
from benchmarks.support.guard import build, preloaded
from benchmarks.support.serving import Answering
from unitrank_tables.sizes import GiB
from unitrank_worker.process.memory import limit_memory

NAMES = tuple(CALLS)


@dataclass(frozen=True)
class Run:
    """The settings of a run. From these settings a process makes each network by its number.

    `archives`: a folder for the archives before their changes. `variants`: archives of an operator.
    `names`: the operators.
    """

    seed: int
    archives: Path
    variants: int
    names: tuple[str, ...] = NAMES

    def name(self, number: int) -> str:
        return self.names[number % len(self.names)]

    def mutant(self, number: int) -> bytes:
        """The changed archive. Raises RuntimeError where torch cannot export the network."""
        variant = number // len(self.names) % self.variants
        path = self.archives / f"{self.name(number)}-{variant}.pt2"
        if not path.exists():
            path.write_bytes(_exported(Random(f"{self.seed}/{path.stem}"), self.name(number)))
        return mutate(Random(f"{self.seed}/{number}"), path.read_bytes())


def _exported(random: Random, name: str) -> bytes:
    for length in (random.choice([1, 2, 3]), 2, 1, 1):
        try:
            return archive(network(random, name, length))
        except Exception:
            # Another network of the operator can be exported: without weights that change, say.
            continue
    raise RuntimeError(f"no network of {name} could be exported")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="number of networks")
    parser.add_argument("--seed", type=int, default=0, help="seed of the networks")
    parser.add_argument("--variants", type=int, default=4, help="archives of each operator before their changes")
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one network")
    parser.add_argument("--first", type=int, default=0, help="the number of the first network")
    parser.add_argument("--only", type=int, help="run only the network with this number")
    parser.add_argument("--operators", default="", help="a pattern: only operators whose name contains it")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for the findings")
    arguments = parser.parse_args()
    names = tuple(name for name in NAMES if re.search(arguments.operators, name))
    numbers = range(arguments.first, arguments.first + arguments.count)
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
    with TemporaryDirectory(prefix="unitrank-operators-") as folder:
        run = Run(arguments.seed, Path(folder), arguments.variants, names)
        library = build(Path(folder))
        answers = _answers(run, library, numbers, min(arguments.processes, len(numbers)), arguments.limit)
        findings = _report(run, answers, arguments.findings)
    if findings:
        raise SystemExit(f"{findings} findings, saved in {arguments.findings}")


def _answers(run: Run, library: Path, numbers: range, processes: int, limit: float) -> Iterator[tuple[int, str]]:
    """The number of each network and its answer, as they come."""
    answers = SimpleQueue[tuple[int, str] | None]()

    def share(first: int) -> None:
        try:
            with Answering(prepare, run, limit=limit, starting=partial(preloaded, library)) as process:
                for number in numbers[first::processes]:
                    answers.put((number, process.ask(number)))
        finally:
            answers.put(None)

    with ThreadPoolExecutor(processes) as pool:
        shares = [pool.submit(share, first) for first in range(processes)]
        for _ in shares:
            yield from iter(answers.get, None)
        for each in shares:
            each.result()


def _report(run: Run, answers: Iterator[tuple[int, str]], folder: Path) -> int:
    """Print each finding and the count of each answer; returns the number of findings."""
    began = time.monotonic()
    counts = Counter[str]()
    for number, answer in answers:
        counts[answer.partition(":")[0]] += 1
        if answer.startswith(FINDING):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"operators-{run.seed}-{number}.txt").write_text(f"{run.name(number)}\n{answer}\n")
            with suppress(RuntimeError):
                (folder / f"operators-{run.seed}-{number}.pt2").write_bytes(run.mutant(number))
            print(f"{number}: {run.name(number)}: {answer.splitlines()[0][:200]}", flush=True)
    for answer, count in counts.most_common():
        print(f"{count:7}  {answer}")
    print(f"{counts.total()} networks in {time.monotonic() - began:.0f} s, {counts[FINDING]} findings")
    return counts[FINDING]


def prepare(run: Run, folder: Path) -> Callable[[int], str]:
    """Prepares this process; returns the function that runs a network by its number."""
    logging.disable()
    torch.set_num_threads(1)
    limit_memory(4 * GiB)
    warnings.simplefilter("ignore")

    def answer(number: int) -> str:
        try:
            content = run.mutant(number)
        except RuntimeError:
            return "not exported"
        (folder / "mutant").write_bytes(content)
        return attempt(folder / "mutant", folder / "clean", Random(f"{run.seed}/{number}/data"))

    return answer


if __name__ == "__main__":
    main()
