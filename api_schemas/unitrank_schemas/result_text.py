"""Parts of a result as text: numbers, options, warnings and the prediction error."""

from typing import Any

from unitrank_schemas.jobs.ablation import Ablation, Fidelity
from unitrank_schemas.results import Result, Warn

CHOSEN = {
    "delta": "those that differ most from the baseline",
    "top": "those that the ranking itself puts first",
    "random": "chosen at random",
}
"""Option `select` of `fidelity` → the replaced units in words."""


def ablation_of(result: Result) -> Ablation:
    """The options of the job's ablation."""
    return Ablation.model_validate(result.provenance.options.get("ablation") or {})


def prediction_error(result: Result) -> str | None:
    """Return the explanation of the column "Prediction error"; None if the job has no fidelity."""
    options = result.provenance.options.get("fidelity", {})
    errors = errors_of_no_change(result)
    if options is None or not errors:
        return None
    fidelity = Fidelity.model_validate(options)
    reference = f" Always predicting no change gives {errors[0]}." if len(set(errors)) == 1 else ""
    return (
        f"Prediction error: mean |sum of scores − real change of the score| when {100 * fidelity.fraction:.4g} % of the units, "
        f"{CHOSEN[fidelity.select]}, are replaced.{reference}"
    )


def errors_of_no_change(result: Result) -> list[str]:
    """Return the error of predicting no change, for each ranking with fidelity."""
    return [number(each.fidelity.mae_of_zero) for each in result.rankings if each.fidelity]


def number(value: float | None) -> str:
    """Return the value with four significant digits, or a dash for None."""
    return "–" if value is None else f"{value:.4g}"


def group_warnings(warnings: list[Warn]) -> list[dict[str, Any]]:
    """Group the warnings by code and ranking.

    An entry has the clusters of its warnings, and the detail of the first one. `overall`: whether
    the entry holds for all clusters together too.
    """
    groups: dict[tuple[str, str | None], list[Warn]] = {}
    for warning in warnings:
        groups.setdefault((warning.code, warning.ranking), []).append(warning)
    return [
        {
            "title": code.replace("_", " ").capitalize(),
            "code": code,
            "ranking": ranking,
            "clusters": [each.cluster for each in group if each.cluster is not None],
            "overall": len(group) > 1 and any(each.cluster is None for each in group),
            "detail": group[0].detail,
        }
        for (code, ranking), group in groups.items()
    ]


def sentence(text: str) -> str:
    """Return the text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}"
