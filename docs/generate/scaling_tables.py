"""The tables of `scaling.md`, made from the constants that `python -m benchmarks.scaling` measures.

`python docs/generate/scaling_tables.py` writes the tables again from benchmarks/scaling.json; a
test compares them.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

PAGE = "scaling.md"
RESULTS = Path("benchmarks/scaling.json")
BLOCK = re.compile(r"(?<=<!-- made by scaling_tables.py -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)
Json = dict[str, Any]
JOBS_AN_HOUR = (1, 10, 1000, 100_000)
EXAMPLES = tuple(10**power for power in range(4, 10))
MOST_USE = 0.7
"""Share of its time that a process may be busy: above it, jobs and requests queue up."""
LEAST_SHARE = 1e-4
HOUR, DAY = 3600, 24
UNITS = ("bytes", "kB", "MB", "GB", "TB")
TIMES = ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s"))


def tables(measured: Json) -> str:
    """The tables in Markdown."""
    parts = {
        "Constants": _constants(measured),
        "Jobs an hour": _jobs(measured),
        "Examples of a job": _examples(measured),
        "Prices of wrong choices": _prices(measured),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())


def _constants(measured: Json) -> str:
    columns = {
        "small job": measured["small"],
        "demo's job": measured["demo"],
        **_requests(measured),
        "idle second": measured["idle"],
    }
    rows = {
        "time, in ms": lambda use: _milliseconds(use["seconds"]) if "seconds" in use else "",
        "commands of the store": lambda use: f"{use['commands']:.0f}",
        "bytes to and from the store": lambda use: _bytes(use["traffic"]),
        "bytes of the store's log": lambda use: _bytes(use["log"]),
        "CPU of the store, in ms": lambda use: _milliseconds(use["store_cpu"]),
        "CPU of the service, in ms": lambda use: _milliseconds(use["service_cpu"]),
        "CPU of the worker's parent, in ms": lambda use: _milliseconds(use["parents_cpu"]),
    }
    cells = [[name, *(cell(use) for use in columns.values())] for name, cell in rows.items()]
    return _table(["", *columns], cells)


def _requests(measured: Json) -> Json:
    return {f"GET of a {name}": use for name, use in measured["requests"].items()}


def _jobs(measured: Json) -> str:
    """For each rate of jobs: the workers, and the busy share of the other processes.

    A job is posted, waited for, and its result is read once.
    """
    result, rows = measured["requests"]["result"], []
    for jobs in JOBS_AN_HOUR:
        for kind in ("small", "demo"):
            job = measured[kind]
            cores = [jobs / HOUR * (job[name] + result[name]) for name in ("store_cpu", "service_cpu")]
            traffic = f"{_bytes(jobs / HOUR * (job['traffic'] + result['traffic']))}/s"
            kept = _bytes(jobs * DAY * job["memory"]) if kind == "small" else ""
            rows.append([f"{jobs:,} {kind}", str(_workers(jobs * job["seconds"])), *map(_share, cores), traffic, kept])
    header = ["jobs an hour", "workers", "store's core", "services' cores", "store's network", "store's memory for a day"]
    return _table(header, rows)


def _workers(seconds_an_hour: float) -> int:
    """Workers that are busy for at most `MOST_USE` of an hour."""
    return max(1, math.ceil(seconds_an_hour / HOUR / MOST_USE))


def _examples(measured: Json) -> str:
    """For each number of examples: the time on one core, from the two largest sizes."""
    sizes = measured["sizes"]
    least, most = sizes[-2] if len(sizes) > 1 else {"rows": 0, "seconds": measured["small"]["seconds"]}, sizes[-1]
    each = (most["seconds"] - least["seconds"]) / (most["rows"] - least["rows"])
    rows = []
    for examples in EXAMPLES:
        seconds = most["seconds"] + each * (examples - most["rows"])
        stored = most["bytes"] / most["rows"] * examples
        cells = [_bytes(stored), _time(most["upload"] / most["bytes"] * stored), _time(seconds), f"{_workers(seconds):,}"]
        rows.append([f"10{_power(examples)}", *cells])
    return _table(["examples", "dataset", "upload", "job on one core", "cores for an hour"], rows)


def _prices(measured: Json) -> str:
    small, demo, inline, loading = measured["small"], measured["demo"], measured["inline"], measured["loading"]
    status, largest = measured["requests"]["status"], measured["sizes"][-1]
    polls = demo["seconds"] / 0.1
    rows = [
        [
            "ask for the status every 0.1 s instead of once with `?wait=60`, for the demo's job",
            f"{polls:.0f} requests, {_milliseconds(polls * status['service_cpu'])} ms of the service instead of "
            f"{_milliseconds(demo['service_cpu'])}",
        ],
        ["five jobs with one method each instead of one job with five", _times(demo["one_by_one"], demo["seconds"])],
        ["test a ranking by ablation when only the scores are needed", _times(demo["seconds"], demo["without_ablation"])],
        [
            f"load a model of {loading['parameters'] / 1e6:.0f} million parameters that is not warm",
            f"{_milliseconds(loading['cold'] - loading['warm'])} ms on top of {_milliseconds(loading['warm'])} ms",
        ],
        [
            "send the dataset inside each request instead of once",
            f"{(inline['log'] - small['log']) / inline['bytes']:.1f} bytes of the store's log for each byte of numbers",
        ],
        [
            f"first job on a dataset of {_bytes(largest['bytes'])}, whose chunks are hashed",
            f"{_time(max(0.0, largest['first'] - largest['seconds']))} on top of {_time(largest['seconds'])}",
        ],
    ]
    return _table(["choice", "price"], rows)


def _times(larger: float, smaller: float) -> str:
    return f"{larger:.1f} s instead of {smaller:.1f} s"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _milliseconds(seconds: float) -> str:
    return f"{_rounded(max(0.0, 1000 * seconds)):,g}"


def _share(cores: float) -> str:
    if cores < LEAST_SHARE:
        return f"under {100 * LEAST_SHARE:g} %"
    return f"{100 * cores:.2g} %" if cores < 0.95 else f"{cores:.1f} cores"


def _rounded(number: float) -> float:
    return float(f"{number:.2g}")


def _bytes(size: float) -> str:
    size = max(0.0, size)
    power = min(len(UNITS) - 1, int(math.log(size, 1000))) if size >= 1 else 0
    return f"{_rounded(size / 1000**power):g} {UNITS[power]}"


def _time(seconds: float) -> str:
    length, unit = next(((length, unit) for length, unit in TIMES if seconds >= 2 * length), TIMES[-1])
    return f"{_rounded(seconds / length):g} {unit}"


def _power(number: int) -> str:
    return str(round(math.log10(number))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def write(root: Path) -> None:
    """Write the tables into the page below `root`."""
    page, measured = root / "docs" / PAGE, json.loads((root / RESULTS).read_text(encoding="utf-8"))
    page.write_text(BLOCK.sub(lambda _: tables(measured), page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2])
