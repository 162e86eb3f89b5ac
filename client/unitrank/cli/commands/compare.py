"""`unitrank compare`."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from unitrank.cli.commands.job_list import Dataset, Layer, Metadata, Model, Text, Verdict, filters_of, pairs_of
from unitrank.cli.compare import Compared, Judged, compared, layer_pairs
from unitrank.cli.output import URL, AsJson, Url, open_client, print_json, print_message, print_table
from unitrank.cli.saved_results import is_file, result_of
from unitrank.client.sync import Client
from unitrank.errors import NotPossible
from unitrank.results import JobResult
from unitrank_schemas.class_names import named, of_classes
from unitrank_schemas.comparison import MOST_JOBS, JobComparison, JobRankingComparison
from unitrank_schemas.results import VERDICT_LABELS
from unitrank_schemas.verdict_strength import DOUBT_WORDS

app = typer.Typer()

Names = Mapping[str, Mapping[str, str]]
MISSING = "–"
MOST_CHARACTERS = 60
"""Characters of a value in the table of differences."""
STRENGTHS = {True: "robust", False: "fragile", None: MISSING}


@app.command()
def compare(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB …", help=f"Two to {MOST_JOBS} ids of jobs, or two results: ids or files.")
    ] = None,
    model: Model = None,
    layer: Layer = None,
    dataset: Dataset = None,
    verdict: Verdict = None,
    metadata: Metadata = None,
    text: Text = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Compare the rankings that two results have in common, or two to four jobs.

    Options in place of ids select the newest jobs that have succeeded.
    """
    filters: Any = filters_of(model=model, layer=layer, dataset=dataset, verdict=verdict, text=text)
    filters |= {"metadata": pairs} if (pairs := pairs_of(metadata)) else {}
    if bool(filters) == bool(jobs):
        raise NotPossible("give the ids of the jobs, or options that select them, such as --text", code="invalid_request")
    with open_client(url) as client:
        if filters:
            jobs = [job.id for job in client.jobs.list(MOST_JOBS, status="succeeded", **filters)]
        if len(jobs or []) == 2 and not filters:
            _compare_results(client, *(jobs or []), as_json=as_json)
            return
        comparison = client.compare(*(jobs or []))
        names = {} if as_json else {job.id: client.run(client.calls.class_names(job.id)) for job in comparison.jobs}
    if as_json:
        print_json(comparison)
    else:
        _print_comparison(comparison, names)


def _compare_results(client: Client, first: str, second: str, *, as_json: bool) -> None:
    pairs = layer_pairs(result_of(client, first), result_of(client, second))
    further = _further(client, first, second)
    comparisons, refused = dict[str, list[Compared]](), list[NotPossible]()
    for layer, results in pairs.items():
        try:
            comparisons[layer] = compared(*results, further)
        except NotPossible as error:
            refused.append(error)
    if not comparisons:
        raise refused[0]
    for reason in refused:
        print_message(f"not compared: {reason}")
    if as_json:
        named_layer = {layer: {"layer": layer} if layer else {} for layer in comparisons}
        print_json([named_layer[layer] | each.as_json() for layer, of_layer in comparisons.items() for each in of_layer])
        return
    for layer, of_layer in comparisons.items():
        if layer:
            print_message(f"layer {layer}")
        _print_results(pairs[layer], of_layer, (first, second))


def _print_results(results: tuple[JobResult, JobResult], comparisons: Sequence[Compared], titles: tuple[str, str]) -> None:
    """Prints the rankings that two results of one layer have in common."""
    for comparison in comparisons:
        # The class of a ranking is the same in both results, but perhaps only one has names.
        classes = {**results[1].classes, **results[0].classes}
        for line in _lines(comparison, classes):
            print_message(line)
        print_table(("", *titles), _rows(*(_worded(each, classes) for each in comparison.judged)))
        if len(comparison.agreement) > 1:
            of_clusters = classes if of_classes(results[0].summary) else {}
            agreement = [
                (named(name, of_clusters), _number(each.spearman), each.top_overlap) for name, each in comparison.agreement.items()
            ]
            print_table(("cluster", "rank correlation", "first units in common"), agreement)


def _further(client: Client, *jobs: str) -> list[str]:
    """The fields in which the requests of two jobs differ; none if one of the two is a file."""
    if len(set(jobs)) < len(jobs) or any(map(is_file, jobs)):
        return []
    return [each.field for each in client.compare(*jobs).differences]


def _worded(judged: Judged, classes: Mapping[str, str]) -> Judged:
    return replace(judged, ties_with=[named(id, classes) for id in judged.ties_with])


def _print_comparison(comparison: JobComparison, names: Names) -> None:
    letters = {job.id: letter for job, letter in zip(comparison.jobs, "ABCD", strict=False)}
    print_table(
        ("", "job", "title", "model", "data", "layer", "best ranking", "verdict", "strength", "area"),
        [
            (
                letters[job.id],
                job.id,
                job.name or MISSING,
                job.model.name or MISSING,
                job.dataset.name or "in the request",
                job.layer,
                named(job.summary.best, names[job.id]) if job.summary and job.summary.best else MISSING,
                VERDICT_LABELS[job.summary.verdict] if job.summary else MISSING,
                STRENGTHS[job.summary.robust if job.summary and job.summary.verdict == "better_than_random" else None],
                _number(job.summary.area if job.summary else None),
            )
            for job in comparison.jobs
        ],
    )
    if comparison.differences:
        rows = [(each.field, *map(_short, each.values)) for each in comparison.differences]
        print_table(("the requests differ in", *letters.values()), rows)
    if comparison.comparisons:
        print_table(
            ("ranking", "ranking", "difference of the areas", "ahead"),
            [_pair(each, letters, names) for each in comparison.comparisons],
        )
    if comparison.agreement:
        rows = [
            (
                f"{letters[each.job_a]}: {named(each.a, names[each.job_a])}",
                f"{letters[each.job_b]}: {named(each.b, names[each.job_b])}",
                _number(each.spearman),
                _number(each.top_overlap),
            )
            for each in comparison.agreement
        ]
        print_table(("ranking", "ranking", "rank correlation", "first units in common"), rows)
    for reason in comparison.not_compared:
        print_message(f"{letters[reason.job_a]} and {letters[reason.job_b]}, {reason.part}: {reason.detail}")


def _pair(each: JobRankingComparison, letters: dict[str, str], names: Names) -> tuple[str, ...]:
    sides = {"a": (each.job_a, each.a), "b": (each.job_b, each.b)}
    words = {side: f"{letters[job]}: {named(ranking, names[job])}" for side, (job, ranking) in sides.items()}
    interval = MISSING if each.difference is None else f"{_number(each.difference)} [{_number(each.low)}, {_number(each.high)}]"
    return (*words.values(), interval, words[each.ahead] if each.ahead else "neither")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _lines(comparison: Compared, classes: Mapping[str, str]) -> Iterator[str]:
    yield f"{named(comparison.ranking, classes)}: {_agreement(comparison)}"
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
