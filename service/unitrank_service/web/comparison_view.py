"""The values that the page of a comparison shows, as texts of its tables."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from unitrank_schemas.class_names import named
from unitrank_schemas.comparison import ComparedJob, JobAgreement, JobComparison, JobRankingComparison
from unitrank_schemas.jobs import units_in_words
from unitrank_schemas.result_text import number
from unitrank_schemas.results import VERDICT_LABELS, Leader
from unitrank_service.results.table_rows import strength, with_interval
from unitrank_service.web.comparison_plot import curves_plot
from unitrank_service.web.job_line import STATES, title_without_name

Json = dict[str, Any]
Names = Mapping[str, Mapping[str, str]]

DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
LETTERS = "ABCD"
MOST_LEADERS = 10
"""Rankings of each job in its leaderboard."""
MOST_ROWS = 40
"""Pairs of rankings in a table."""


def comparison_values(comparison: JobComparison, names: Names) -> Json:
    """Return the values of the template besides the comparison itself.

    `names`: id of a job → the names of its classes.
    """
    letters = {job.id: letter for job, letter in zip(comparison.jobs, LETTERS, strict=False)}

    def called(job: str, ranking: str) -> str:
        return f"{letters[job]}: {named(ranking, names[job])}"

    layers = dict.fromkeys(name for job in comparison.jobs for name in job.layers or [])
    return {
        "layers": list(layers),
        "layer": next((job.layer for job in comparison.jobs if job.layers), ""),
        "columns": [_column(job, letters[job.id], names[job.id]) for job in comparison.jobs],
        "differences": [
            {"field": each.field, "values": [_value(value, each.field) for value in each.values]} for each in comparison.differences
        ],
        "pairs": [_difference(pair, called) for pair in comparison.comparisons[:MOST_ROWS]],
        "agreement": [_agreement(pair, called) for pair in comparison.agreement[:MOST_ROWS]],
        "reasons": _reasons(comparison, letters),
        "left_out": max(0, len(comparison.comparisons) - MOST_ROWS, len(comparison.agreement) - MOST_ROWS),
        "plot": curves_plot({letters[job.id]: job for job in comparison.jobs}, names),
    }


def _difference(pair: JobRankingComparison, called: Callable[[str, str], str]) -> Json:
    """A row of the table of areas. `called`: a job and its ranking → their name."""
    a, b = called(pair.job_a, pair.a), called(pair.job_b, pair.b)
    return {
        "a": a,
        "b": b,
        "difference": with_interval(pair.difference, pair.low, pair.high),
        "keep": with_interval(pair.keep_difference, pair.keep_low, pair.keep_high),
        "ahead": {"a": a, "b": b, None: "neither"}[pair.ahead],
    }


def _agreement(pair: JobAgreement, called: Callable[[str, str], str]) -> Json:
    """A row of the table of correlations. `called`: a job and its ranking → their name."""
    values = (pair.spearman, pair.pearson, pair.cosine, pair.relative_difference, pair.top_overlap)
    return {
        "a": called(pair.job_a, pair.a),
        "b": called(pair.job_b, pair.b),
        "values": [number(value) for value in values],
    }


def _column(job: ComparedJob, letter: str, classes: Mapping[str, str]) -> Json:
    summary = job.summary
    leader = Leader(ranking="", better_than_random=0, of=0, verdict=summary.verdict, robust=summary.robust) if summary else None
    return {
        "letter": letter,
        "id": job.id,
        "title": job.name or title_without_name([job.layer], job.model.name or job.model.digest[:19]),
        "status": job.status,
        "state": STATES[job.status],
        "model": job.model.name or "–",
        "dataset": job.dataset.name or "in the request",
        "place": f"{units_in_words(job.units)} of the {job.at} of {job.layer}",
        "best": named(summary.best, classes) if summary and summary.best else "–",
        "verdict": VERDICT_LABELS[summary.verdict] if summary else "–",
        "strength": strength(leader) if leader else "–",
        "area": number(summary.area if summary else None),
        "clusters": str(summary.clusters) if summary else "–",
        "leaders": [
            {
                "ranking": named(each.ranking, classes),
                "verdict": VERDICT_LABELS[each.verdict],
                "strength": strength(each),
                "area": number(each.area),
            }
            for each in job.leaderboard[:MOST_LEADERS]
        ],
    }


def _value(value: Any, field: str) -> Json:  # Any: JSON
    """Return the value as text, and the same with short digests and with methods in words."""
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    words = "; ".join(map(_method, value)) if field == "methods" and isinstance(value, list) else text
    return {"full": text, "short": DIGEST.sub(r"\1…", words)}


def _method(entry: Any) -> str:  # Any: a method of the request, as JSON
    """Return the ranking's id with the options that are not null.

    >>> _method({"name": "conductance", "id": "mine", "statistic": "mean", "steps": 20, "tolerance": None})
    'mine (conductance, steps 20)'
    """
    if not isinstance(entry, dict):
        return str(entry)
    name = str(entry.get("name"))
    id = str(entry.get("id") or name)
    options = {name: each for name, each in entry.items() if name not in ("name", "id") and each not in (None, "mean")}
    words = [*([] if id.startswith(name) else [name]), *(f"{option.replace('_', ' ')} {each}" for option, each in options.items())]
    return id + (f" ({', '.join(words)})" if words else "")


def _reasons(comparison: JobComparison, letters: dict[str, str]) -> list[str]:
    """Return why parts are missing, each reason once."""
    reasons = (f"{letters[each.job_a]} and {letters[each.job_b]}: {each.detail}" for each in comparison.not_compared)
    return list(dict.fromkeys(reasons))
