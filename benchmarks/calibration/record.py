"""Measures one regime by its name, and writes its shares as JSON values."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

from benchmarks.calibration import coverage
from benchmarks.calibration.rates import Share, limit, rates
from benchmarks.calibration.regimes import CHECKS, NOISE, NOT_EXCHANGEABLE, POWER
from benchmarks.calibration.shapley import shapley

DRAWS = 2000
"""Draws of a sample for each coverage."""
TESTED = (2, 5, 20, 100)
"""Test examples of each cluster for the coverage of differences."""
SHARES_OF_TRUTH = (0.0, 0.5, 0.9)
EXAMPLES = (299, 500, 2000)
"""Test examples for the coverage of `removable_at`."""
RUNS = 1000
"""Runs with different seeds for the coverage of Shapley values."""
EXPLAINED = {1: "1 example", 8: "8 examples"}
"""Examples of the cluster whose Shapley values are estimated, as numbers and in words."""


class Counted(TypedDict):
    """A share, with its Clopper–Pearson interval at 95 %."""

    count: int
    of: int
    low: float
    high: float


class Record(TypedDict):
    """The shares of one regime. `jobs`: its number of jobs, or of draws for a coverage."""

    name: str
    group: str
    title: str
    jobs: int
    shares: dict[str, Counted]


@dataclass(frozen=True)
class Measure:
    """A regime by its title. `run` takes a number of jobs; `jobs` is the usual one."""

    group: str
    title: str
    jobs: int
    run: Callable[[int], dict[str, Share]]


def _measures() -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    for group, regimes in (("noise", NOISE), ("not exchangeable", NOT_EXCHANGEABLE), ("power", POWER)):
        for name, regime in regimes.items():
            measures[name] = Measure(group, regime.title, regime.jobs, partial(rates, regime))
    for name, check in CHECKS.items():
        measures[name] = Measure("checks", check.regime.title, check.regime.jobs, partial(check.measure, check.regime))
    for tests in TESTED:
        title = f"`low` to `high` of a comparison, {tests} test examples in each cluster"
        measures[f"difference-{tests}"] = Measure("coverage", title, DRAWS, partial(coverage.differences, tests))
    for share in SHARES_OF_TRUTH:
        title = f"`missed_at_most`, scores with λ = {share}"
        measures[f"missed-{share}"] = Measure("coverage", title, DRAWS, partial(coverage.missed, share))
    for count in EXAMPLES:
        title = f"`removable_at`, {count} test examples"
        measures[f"removable-{count}"] = Measure("coverage", title, DRAWS, partial(coverage.removable, count))
    for count, words in EXPLAINED.items():
        title = f"`importance_low` to `importance_high` of a sampled `shapley`, {words}"
        measures[f"shapley-{count}"] = Measure("coverage", title, RUNS, partial(shapley, count))
    return measures


MEASURES = _measures()


def measure(name: str, jobs: int | None = None) -> Record:
    """Return the record of a regime, over its usual number of jobs or over `jobs`."""
    chosen = MEASURES[name]
    jobs = jobs or chosen.jobs
    shares = {key: _counted(share) for key, share in chosen.run(jobs).items()}
    return Record(name=name, group=chosen.group, title=chosen.title, jobs=jobs, shares=shares)


def _counted(share: Share) -> Counted:
    low, high = share.interval()
    return Counted(count=share.count, of=share.of, low=round(low, 4), high=round(high, 4))


def over_limit(record: Record) -> bool:
    """Whether noise is called better more often than 5 % + 3 standard errors."""
    if record["group"] != "noise":
        return False
    better = record["shares"]["better"]
    return better["count"] / better["of"] > limit(better["of"])


def read(path: Path) -> list[Record]:
    """Return the records of earlier runs, or none."""
    records: list[Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return records


def write(path: Path, records: list[Record]) -> None:
    """Write the records in the order of the regimes, one on each line."""
    order = list(MEASURES)
    lines = ",\n".join(json.dumps(each, sort_keys=True) for each in sorted(records, key=lambda each: order.index(each["name"])))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
