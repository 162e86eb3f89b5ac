"""The tables of `verdict.md`, made from the records of `python -m benchmarks.calibration`.

`python docs/generate/calibration_tables.py` writes the tables again from
benchmarks/calibration/results.json; a test compares them.
"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = "verdict.md"
RESULTS = Path("benchmarks/calibration/results.json")
BLOCK = re.compile(r"(?<=<!-- made by calibration_tables.py -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)
Record = dict[str, Any]
RATES = {
    "noise": "Noise",
    "not exchangeable": "Noise in scores that are not exchangeable",
    "power": "Scores that are partly true",
}
"""Groups of regimes with verdicts → the titles of their tables."""
SHARES = {"checks": "Other statements", "coverage": "Coverage of intervals and limits at 95 %"}
"""Groups of other regimes → the titles of their tables."""
COLUMNS = {
    "better": "better overall",
    "worse": "worse overall",
    "family": "better in a cluster by `p_family`",
    "cluster": "clusters with p ≤ 0.05",
}


def tables(records: list[Record]) -> str:
    """The tables in Markdown."""
    parts = [_rates(title, [record for record in records if record["group"] == group]) for group, title in RATES.items()]
    parts += [_shares(title, [record for record in records if record["group"] == group]) for group, title in SHARES.items()]
    return "\n\n".join(parts)


def _rates(title: str, records: list[Record]) -> str:
    lines = [
        f"### {title}",
        "",
        f"| regime | jobs | rankings | {' | '.join(COLUMNS.values())} |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for record in records:
        shares = record["shares"]
        cells = [_with_interval(shares[name]) if name == "better" else _percent(shares[name]) for name in COLUMNS]
        lines.append(f"| {record['title']} | {record['jobs']} | {shares['family']['of']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shares(title: str, records: list[Record]) -> str:
    lines = [f"### {title}", "", "| regime | statement | share | trials |", "|---|---|---|---|"]
    for record in records:
        for name, share in record["shares"].items():
            lines.append(f"| {record['title']} | {name} | {_with_interval(share)} | {share['of']} |")
    return "\n".join(lines)


def _percent(share: Record) -> str:
    return f"{100 * share['count'] / share['of']:.1f} %"


def _with_interval(share: Record) -> str:
    return f"{_percent(share)} ({100 * share['low']:.1f}–{100 * share['high']:.1f})"


def write(root: Path) -> None:
    """Write the tables into the page below `root`."""
    page, records = root / "docs" / PAGE, json.loads((root / RESULTS).read_text(encoding="utf-8"))
    page.write_text(BLOCK.sub(lambda _: tables(records), page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2])
