"""`unitrank compare`."""

from collections.abc import Callable, Iterator

import typer

from unitrank.cli.compare import Compared, Judged, compared
from unitrank.cli.output import URL, AsJson, Url, open_client, print_json, print_message, print_table
from unitrank.cli.saved_results import Saved, result_of
from unitrank_schemas.results import VERDICT_LABELS
from unitrank_schemas.verdict_strength import DOUBT_WORDS

app = typer.Typer()

MISSING = "–"
STRENGTHS = {True: "robust", False: "fragile", None: MISSING}


@app.command()
def compare(first: Saved, second: Saved, url: Url = URL, as_json: AsJson = False) -> None:
    """Compare the rankings that two results have in common: verdicts, numbers, and importances."""
    with open_client(url) as client:
        comparisons = compared(result_of(client, first), result_of(client, second))
    if as_json:
        print_json([comparison.as_json() for comparison in comparisons])
        return
    for comparison in comparisons:
        for line in _lines(comparison):
            print_message(line)
        print_table(("", first, second), _rows(*comparison.judged))
        if len(comparison.agreement) > 1:
            agreement = [(name, _number(each.spearman), each.top_overlap) for name, each in comparison.agreement.items()]
            print_table(("cluster", "rank correlation", "first units in common"), agreement)


def _lines(comparison: Compared) -> Iterator[str]:
    yield f"{comparison.ranking}: {_agreement(comparison)}"
    if comparison.differences:
        yield f"  the requests differ in: {', '.join(comparison.differences)}"


def _agreement(comparison: Compared) -> str:
    if comparison.no_agreement or comparison.top_overlap is None:
        return f"no rank correlation: {comparison.no_agreement}"
    numbers = [each.spearman for each in comparison.agreement.values() if each.spearman is not None]
    correlation = "no rank correlation, because all units of one result have equal importance"
    if numbers:
        lowest, highest = _number(min(numbers)), _number(max(numbers))
        correlation = f"rank correlation {lowest}" + (f" to {highest}" if len(numbers) > 1 else "")
    return f"{correlation}; {comparison.top_overlap:.3g} of the first {comparison.top} units in common"


def _rows(first: Judged, second: Judged) -> Iterator[tuple[str, str, str]]:
    """A row for each quantity that a result has."""
    for label, cell in QUANTITIES.items():
        cells = cell(first), cell(second)
        if cells != (MISSING, MISSING):
            yield label, *cells


def _strength(judged: Judged) -> str:
    return STRENGTHS[judged.robust] if judged.verdict == "better_than_random" else MISSING


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


QUANTITIES: dict[str, Callable[[Judged], str]] = {
    "verdict": lambda judged: VERDICT_LABELS[judged.verdict],
    "strength": _strength,
    "doubts": lambda judged: "; ".join(DOUBT_WORDS.get(code, code) for code in judged.doubts) or MISSING,
    "p over all clusters": lambda judged: MISSING if judged.p_family is None else f"{judged.p_family:.2g}",
    "clusters better": lambda judged: str(judged.better),
    "area": lambda judged: _number(judged.area),
    "area of keeping": lambda judged: _number(judged.keep),
    "units that keep 90 %": lambda judged: MISSING if judged.units_for_90 is None else str(judged.units_for_90),
    "selectivity": lambda judged: _number(judged.selectivity),
    "tied with": lambda judged: ", ".join(judged.ties_with) or MISSING,
}
"""Label of a row → its cell."""
