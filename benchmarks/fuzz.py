"""Whether a file, whatever is wrong in it, gets an answer and no more: `python -m benchmarks.fuzz`.

Mutants of honest archives and tables go through the readers that uploads go through, in a process whose memory is limited. The
reader's own error is an answer, as is a program or a table. Any other exception, the end of the process, an answer that takes too
long and one that asks for too much memory are findings; each is saved with what was seen of it. With the same `--seed` a number
always names the same mutant.
"""

import argparse
import faulthandler
import logging
import multiprocessing
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from tests.mutants import Mutator, archives, tables

from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_tables import open_table
from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import GiB
from unitrank_worker.process.memory import limit_memory

PASSED, FINDING = "passed", "FINDING"
ENDED = "FINDING: the process ended"
# Half of all mutants are archives, whose reader is the larger one.
SHARES = {"pt2": 2, "npz": 1, "safetensors": 1}
MUTATORS = {"pt2": archives.MUTATORS, "npz": tables.NPZ, "safetensors": tables.SAFETENSORS}
# torch's allocator says so in an error of another kind.
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "out of memory")


@dataclass(frozen=True)
class Mutant:
    """What a number stands for: a mutator of files of a kind, named `kind/mutator`, and an honest file to begin with."""

    kind: str
    name: str
    seed: Path
    mutator: Mutator
    random: Random

    def bytes(self) -> bytes:
        return self.mutator(self.random, self.seed.read_bytes())


@dataclass(frozen=True)
class Run:
    """All that a process must know to make and read any mutant; times in seconds, memory in bytes."""

    seed: int
    honest: Path
    limit: float
    memory: int

    def mutant(self, number: int) -> Mutant:
        random = Random(f"{self.seed}/{number}")
        kind = random.choices(list(SHARES), list(SHARES.values()))[0]
        name, mutator = random.choice(list(MUTATORS[kind].items()))
        seed = random.choice(sorted(self.honest.glob(f"*.{kind}")))
        return Mutant(kind, f"{kind}/{name}", seed, mutator, random)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0, help="other seeds make other mutants")
    parser.add_argument("--seconds", type=float, default=3600, help="no mutant begins after that")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that the answer to one mutant may take")
    parser.add_argument("--memory", type=int, default=2 * GiB, help="bytes that a process may write to, torch's own included")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where findings are saved")
    parser.add_argument("--only", type=int, help="one mutant by its number")
    arguments = parser.parse_args()
    numbers = range(arguments.count) if arguments.only is None else range(arguments.only, arguments.only + 1)
    with TemporaryDirectory(prefix="unitrank-fuzz-") as folder:
        run = Run(arguments.seed, Path(folder), arguments.limit, arguments.memory)
        _save_honest(run.honest)
        answers = _answers(run, numbers, min(arguments.processes, len(numbers)), time.monotonic() + arguments.seconds)
        found = _reported(run, answers, arguments.findings)
    if found:
        raise SystemExit(f"{found} findings, saved in {arguments.findings}")


def _save_honest(folder: Path) -> None:
    for name, content in archives.honest():
        (folder / f"{name}.pt2").write_bytes(content)
    (folder / "stored.npz").write_bytes(tables.npz(packed=False))
    (folder / "packed.npz").write_bytes(tables.npz(packed=True))
    (folder / "three.safetensors").write_bytes(tables.safetensors())


def _answers(run: Run, numbers: range, processes: int, deadline: float) -> Iterator[tuple[int, str]]:
    """Each mutant's number and what came of it."""

    def share(first: int) -> list[tuple[int, str]]:
        with _Reader(run) as reader:
            return [(number, reader.ask(number)) for number in numbers[first::processes] if time.monotonic() < deadline]

    with ThreadPoolExecutor(processes) as pool:
        for answers in pool.map(share, range(processes)):
            yield from answers


def _reported(run: Run, answers: Iterator[tuple[int, str]], folder: Path) -> int:
    """The number of findings, after a line for each mutator."""
    began = time.monotonic()
    counts: dict[str, Counter[str]] = {f"{kind}/{name}": Counter() for kind in MUTATORS for name in MUTATORS[kind]}
    for number, answer in answers:
        mutant = run.mutant(number)
        counts[mutant.name][answer.partition(":")[0]] += 1
        if answer.startswith(FINDING):
            _save(folder / f"{run.seed}-{number}.{mutant.kind}", mutant, answer)
            line = answer.splitlines()[0 if answer.startswith(ENDED) else -1]
            print(f"{number}: {mutant.name} of {mutant.seed.stem}: {line[:200]}")
    for name, found in counts.items():
        codes = ", ".join(f"{code} {count}" for code, count in found.most_common() if code not in (PASSED, FINDING))
        print(f"{name:20}{found.total():7}  passed {found[PASSED]:5}  findings {found[FINDING]:3}  refused: {codes}")
    total = sum((found for found in counts.values()), Counter[str]())
    print(f"{total.total()} mutants in {time.monotonic() - began:.0f} s, {total[PASSED]} passed, {total[FINDING]} findings")
    return total[FINDING]


def _save(path: Path, mutant: Mutant, answer: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mutant.bytes())
    path.with_suffix(".txt").write_text(f"{mutant.name} of {mutant.seed.name}\n{answer}\n")


class _Reader:
    """A process that reads mutants by their numbers, and another one where it has ended."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folder = TemporaryDirectory(prefix="unitrank-fuzz-")
        self._begin()

    def ask(self, number: int) -> str:
        """What came of the mutant."""
        try:
            self._connection.send(number)
            answer: str = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            seen = self._log.read_text(errors="replace") or f"exit status {self._process.exitcode}"
            self._begin()
            return f"{ENDED}, {seen}"
        return answer

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far = context.Pipe()
        self._log = Path(self._folder.name, "log")
        self._process = context.Process(target=_serve, args=(self._run, far, Path(self._folder.name), self._log), daemon=True)
        self._process.start()
        far.close()
        self._connection.recv()

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._folder.cleanup()


def _serve(run: Run, connection: Connection, folder: Path, log: Path) -> None:
    logging.disable()
    torch.set_num_threads(1)
    for seed in run.honest.iterdir():
        # What torch loads late is loaded now, and takes none of a mutant's time.
        _read(run, seed, seed.suffix[1:], folder)
    # Not before: sympy adds filters of its own when torch loads it.
    warnings.simplefilter("ignore")
    limit_memory(run.memory)
    with log.open("w") as file:
        faulthandler.enable(file)
        connection.send("ready")
        while True:
            mutant = run.mutant(connection.recv())
            path = folder / "mutant"
            path.write_bytes(mutant.bytes())
            # A thread of its own ends the process, whatever it is in, and says where it was.
            faulthandler.dump_traceback_later(run.limit, exit=True, file=file)
            answer = _read(run, path, mutant.kind, folder)
            faulthandler.cancel_dump_traceback_later()
            connection.send(answer)


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
