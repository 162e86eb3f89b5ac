"""Read damaged archives and tables, and report readers that fail: `python -m benchmarks.fuzz`.

A mutant is a valid file with random damage. The readers of uploads read each mutant in a process
with limited memory. A mutant passes if the reader reads it or raises ArchiveError or BadTable. A
mutant is a finding in four cases: another exception, the end of the process, a reader that takes
too long, and a reader that needs too much memory. Each finding is saved with its traceback or exit
status.
The same `--seed` and number always make the same mutant.
"""

import argparse
import logging
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from tests.mutants import Mutator, archives, tables

from benchmarks.support.serving import ENDED, Answering
from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_tables import open_table
from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import GiB
from unitrank_worker.process.memory import limit_memory

PASSED, FINDING = "passed", "FINDING"
# Half of all mutants are archives, whose reader is the larger one.
SHARES = {"pt2": 2, "npz": 1, "safetensors": 1}
MUTATORS = {"pt2": archives.MUTATORS, "npz": tables.NPZ, "safetensors": tables.SAFETENSORS}
# torch's allocator reports a lack of memory with a RuntimeError; these words are in its message.
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "out of memory")


@dataclass(frozen=True)
class Mutant:
    """A valid file and the change that is made to it.

    `name`: kind and mutator, as `kind/mutator`. `valid`: path of the valid file.
    """

    kind: str
    name: str
    valid: Path
    mutator: Mutator
    random: Random

    def bytes(self) -> bytes:
        return self.mutator(self.random, self.valid.read_bytes())


@dataclass(frozen=True)
class Run:
    """The settings of a run. From these settings a process makes each mutant by its number.

    `folder`: the valid files. `limit`: seconds to read one mutant. `memory`: in bytes.
    """

    seed: int
    folder: Path
    limit: float
    memory: int

    def mutant(self, number: int) -> Mutant:
        random = Random(f"{self.seed}/{number}")
        kind = random.choices(list(SHARES), list(SHARES.values()))[0]
        name, mutator = random.choice(list(MUTATORS[kind].items()))
        valid = random.choice(sorted(self.folder.glob(f"*.{kind}")))
        return Mutant(kind, f"{kind}/{name}", valid, mutator, random)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutants")
    parser.add_argument("--seconds", type=float, default=3600, help="start no mutant after this time, in seconds")
    parser.add_argument("--processes", type=int, default=2, help="number of reading processes")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds to read one mutant")
    parser.add_argument(
        "--memory", type=int, default=2 * GiB, help="bytes of memory that a process may write to, including torch's"
    )
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for the findings")
    parser.add_argument("--only", type=int, help="read only the mutant with this number")
    arguments = parser.parse_args()
    numbers = range(arguments.count) if arguments.only is None else range(arguments.only, arguments.only + 1)
    with TemporaryDirectory(prefix="unitrank-fuzz-") as folder:
        run = Run(arguments.seed, Path(folder), arguments.limit, arguments.memory)
        _save_valid_files(run.folder)
        answers = _answers(run, numbers, min(arguments.processes, len(numbers)), time.monotonic() + arguments.seconds)
        findings = _report(run, answers, arguments.findings)
    if findings:
        raise SystemExit(f"{findings} findings, saved in {arguments.findings}")


def _save_valid_files(folder: Path) -> None:
    for name, content in archives.honest():
        (folder / f"{name}.pt2").write_bytes(content)
    (folder / "stored.npz").write_bytes(tables.npz(packed=False))
    (folder / "packed.npz").write_bytes(tables.npz(packed=True))
    (folder / "three.safetensors").write_bytes(tables.safetensors())


def _answers(run: Run, numbers: range, processes: int, deadline: float) -> Iterator[tuple[int, str]]:
    """The number of each mutant, and its answer: `passed`, an error code or a finding."""

    def share(first: int) -> list[tuple[int, str]]:
        with Answering(_prepare, run, limit=run.limit) as reader:
            return [(number, reader.ask(number)) for number in numbers[first::processes] if time.monotonic() < deadline]

    with ThreadPoolExecutor(processes) as pool:
        for answers in pool.map(share, range(processes)):
            yield from answers


def _report(run: Run, answers: Iterator[tuple[int, str]], folder: Path) -> int:
    """Print each finding and a line for each mutator; returns the number of findings."""
    began = time.monotonic()
    counts: dict[str, Counter[str]] = {f"{kind}/{name}": Counter() for kind in MUTATORS for name in MUTATORS[kind]}
    for number, answer in answers:
        mutant = run.mutant(number)
        counts[mutant.name][answer.partition(":")[0]] += 1
        if answer.startswith(FINDING):
            _save(folder / f"{run.seed}-{number}.{mutant.kind}", mutant, answer)
            line = answer.splitlines()[0 if answer.startswith(ENDED) else -1]
            print(f"{number}: {mutant.name} of {mutant.valid.stem}: {line[:200]}")
    for name, answered in counts.items():
        codes = ", ".join(f"{code} {count}" for code, count in answered.most_common() if code not in (PASSED, FINDING))
        print(f"{name:20}{answered.total():7}  passed {answered[PASSED]:5}  findings {answered[FINDING]:3}  rejected: {codes}")
    total = sum(counts.values(), Counter[str]())
    print(f"{total.total()} mutants in {time.monotonic() - began:.0f} s, {total[PASSED]} passed, {total[FINDING]} findings")
    return total[FINDING]


def _save(path: Path, mutant: Mutant, answer: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mutant.bytes())
    path.with_suffix(".txt").write_text(f"{mutant.name} of {mutant.valid.name}\n{answer}\n")


def _prepare(run: Run, folder: Path) -> Callable[[int], str]:
    """Prepares a reading process; returns the function that reads a mutant by its number.

    It returns `passed`, the code of the reader's error, or a finding with its traceback.
    """
    logging.disable()
    torch.set_num_threads(1)
    for valid in run.folder.iterdir():
        # torch imports some modules at first use. These reads import them, so that no mutant's
        # time includes an import.
        _read(run, valid, valid.suffix[1:], folder)
    # After these reads, because sympy adds filters of its own when torch imports sympy.
    warnings.simplefilter("ignore")
    limit_memory(run.memory)

    def answer(number: int) -> str:
        mutant = run.mutant(number)
        path = folder / "mutant"
        path.write_bytes(mutant.bytes())
        return _read(run, path, mutant.kind, folder)

    return answer


def _read(run: Run, path: Path, kind: str, folder: Path) -> str:
    try:
        READERS[kind](path, folder)
    except (ArchiveError, BadTable) as error:
        cause = str(error.__cause__)
        return f"{FINDING}: memory: {cause}" if any(words in cause for words in _NO_MEMORY) else error.code
    except BaseException:
        return f"{FINDING}: {traceback.format_exc()}"
    return PASSED


def _read_archive(path: Path, folder: Path) -> None:
    clean(path, folder / "clean")
    load(folder / "clean")


def _read_table(path: Path, folder: Path) -> None:
    with open_table(path) as table:
        for field in table.fields:
            table.read(field, slice(None))
            table.read(field, [0, table.examples - 1])


READERS: dict[str, Callable[[Path, Path], None]] = {"pt2": _read_archive, "npz": _read_table, "safetensors": _read_table}


if __name__ == "__main__":
    main()
