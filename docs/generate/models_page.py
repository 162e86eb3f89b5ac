"""`models.md` and its JSON, made from the records of `python -m benchmarks.parity`.

`python docs/generate/models_page.py` writes the page again from benchmarks/parity/results.json.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = "models.md"
RESULTS = Path("benchmarks/parity/results.json")
Record = dict[str, Any]

OPENING = """# Models

Unitrank takes any PyTorch network that `unitrank.export` accepts. This page lists {tried} architectures
with random weights: whether they are exported, and how far each method is from plain formulas.

{counts}

`make parity` makes this page and `benchmarks/parity/results.json`, which has the numbers. Each
architecture is small and has random weights, because a method's error does not depend on training.

- **layers**: number of layers that a job can name. The value of each layer is compared with the
  output of its module.
- **worst error**: every method is computed at two or three places (an input, layers that are cuts,
  a layer that is bypassed) and compared with the eager module in float64, where hooks replace
  values. The error is relative to the largest score of the place. DeepLIFT has no plain formula
  for all operations: its scores must sum to the change of the output, equal gradient × delta where
  the rest of the network is linear, and keep the scores of an elementwise function before it.
- **float32**: the same error of the eager module in float32. It is given where the worst error is
  above 2e-4: a difference of two large numbers loses digits in any float32 program.
- **alone**: the largest difference between the scores of an example alone and in a batch.
- **notes**: a fault is an error above 2e-4 that eager float32 does not share, another score of an
  example alone, a gap without a warning, or a layer with another value or channel axis.
- **gap**: completeness gap of `conductance` with 20 steps from the baseline `zeros`. A gap above
  0.05 must have the warning `path_not_resolved`, which is marked with *w*.
"""
HEADER = ["| model | from | layers | worst error | float32 | alone | gap | notes |", "|---|---|---|---|---|---|---|---|"]
LIMIT = 2e-4


def as_json(records: list[Record]) -> str:
    """The records, one on each line."""
    lines = ",\n".join(json.dumps(record, sort_keys=True) for record in records)
    return f"[\n{lines}\n]\n"


def page(records: list[Record]) -> str:
    """The page in Markdown, with a table for each family of architectures."""
    families = dict.fromkeys(record["family"] for record in records)
    parts = [OPENING.format(tried=len(records), counts="\n".join(counts(records)))]
    for family in families:
        rows = [_row(record) for record in records if record["family"] == family]
        parts.append("\n".join([f"## {family.capitalize()}", "", *HEADER, *rows, ""]))
    return "\n".join(parts)


def counts(records: list[Record]) -> list[str]:
    """The counts of the table, as items of a list."""
    right = [record for record in records if record["outcome"] == "exported"]
    refused = [record for record in records if record["outcome"] != "exported"]
    truly = [record for record in refused if record.get("truly")]
    faulty = [record for record in right if list(faults(record))]
    share = (len(right) + len(truly)) / max(1, len(records))
    return [
        f"- tried: {len(records)}",
        f"- exported: {len(right)}",
        f"- refused for a reason that is true: {len(truly)}",
        f"- wrongly refused or failed: {len(refused) - len(truly)}",
        f"- exported or truly refused: {share:.0%}",
        f"- exported with a fault: {len(faulty)}",
    ]


def faults(record: Record) -> Iterator[str]:
    """The faults of an exported architecture in words."""
    for place in record.get("places", ()):
        if "failed" in place:
            yield f"{place['layer']}: the job failed: {place['failed']}"
        yield from (f"{place['layer']}: {fault}" for fault in place.get("faults", ()))
    single = record.get("elementwise")
    if single and single["error"] > LIMIT:
        yield f"{single['layer']}: deeplift before an elementwise function differs by {single['error']:.0e}"
    if record.get("differing"):
        yield f"other values than the module's: {', '.join(record['differing'][:3])}"
    if record.get("channels"):
        yield f"another channel axis: {', '.join(record['channels'][:3])}"


def _row(record: Record) -> str:
    if record["outcome"] != "exported":
        reason = record.get("truly") or record["reason"]
        cells = [record["name"], record["source"], "", "", "", "", "", f"{record['outcome']}: {reason}"]
    else:
        cells = [record["name"], record["source"], str(record["layers"]), *_numbers(record), "; ".join(faults(record))]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _numbers(record: Record) -> list[str]:
    places = [place for place in record["places"] if "failed" not in place]
    if not places:
        return ["", "", "", ""]
    worst = max(places, key=lambda place: place["error"])
    gap = max(places, key=lambda place: place["path_gap"])
    return [
        f"{worst['error']:.0e} `{worst['method']}`",
        f"{worst['float32']:.0e}" if worst["error"] > LIMIT else "",
        f"{max(place['alone'] for place in places):.0e}",
        f"{gap['path_gap']:.0e}{' *w*' if 'path_not_resolved' in gap['warnings'] else ''}",
    ]


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    (root / "docs" / PAGE).write_text(page(json.loads((root / RESULTS).read_text(encoding="utf-8"))), encoding="utf-8")
