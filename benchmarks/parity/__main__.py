"""Compare every method with plain formulas on many architectures: `python -m benchmarks.parity`.

Each architecture runs in a process of its own. An architecture is exported with `unitrank.export`;
then each method is compared at a few places with the eager module in float64, an example alone with
the same example in company, and the sum of the scores with the change of the output.

A record of each architecture is kept in `--folder`, and used again while the code is the same. A
run of all architectures writes results.json and docs/models.md.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from docs.generate import models_page
from tests.engine.architectures.catalogue import CATALOGUE

from benchmarks.parity.comparison import Record
from benchmarks.parity.process import in_process

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
SOURCES = ("engine", "client/unitrank/exporting.py", "api_schemas", "tables", "tests/engine", "benchmarks/parity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(CATALOGUE), metavar="NAME", help="try only these architectures")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one architecture")
    parser.add_argument("--folder", type=Path, default=Path("parity-records"), help="folder for the records")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = arguments.only or list(CATALOGUE)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        digest = _digest()
        records = list(pool.map(lambda name: recorded(name, arguments.folder, digest, limit=arguments.limit), names))
    if arguments.only:
        print(json.dumps(records, indent=1))
        return
    RESULTS.write_text(models_page.as_json(records), encoding="utf-8")
    (ROOT / "docs" / models_page.PAGE).write_text(models_page.page(records), encoding="utf-8")
    print("\n".join(models_page.counts(records)))


def recorded(name: str, folder: Path, digest: str, *, limit: float) -> Record:
    """The record of an architecture, which is made unless the folder has one of the same code."""
    path = folder / f"{name}-{digest}.json"
    if not path.exists():
        began = time.monotonic()
        record = in_process(name, path, limit)
        print(f"{name:20} {record['outcome']:9} {time.monotonic() - began:5.1f} s  {'; '.join(_faults(record))[:200]}", flush=True)
        return record
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def _faults(record: Record) -> Iterable[str]:
    yield from models_page.faults(record)
    if record["outcome"] != "exported":
        yield record["reason"]


def _digest() -> str:
    """A digest of the code that decides the records."""
    paths = [path for source in SOURCES for path in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]]
    content = b"".join(path.read_bytes() for path in paths)
    return hashlib.sha256(content + torch.__version__.encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
