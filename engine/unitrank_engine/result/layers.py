"""The summary and the arrays of a job that ranks several layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unitrank_engine.result import warnings
from unitrank_engine.result.arrays import arrays, of_whole_job
from unitrank_engine.result.outcome import JobOutcome
from unitrank_engine.result.summary import about, of_layer
from unitrank_schemas.results import JOINT, LayeredResult


def summarise_layers(outcomes: Mapping[str, JobOutcome], resolved: Mapping[str, Any], job: str, version: str) -> LayeredResult:
    """Return the summary of a job.

    `outcomes`: layer → its outcome, and `joint` → that of all layers' units together.
    `resolved`, `job`, `version`: as `summarise` takes them.

    A warning that all layers have stands in the summary once.
    """
    parts = {name: of_layer(outcome, resolved) for name, outcome in outcomes.items()}
    first = next(iter(outcomes.values()))
    # Warnings about a ranking are those of one layer, even where the texts are equal.
    shared = [
        each
        for each in next(iter(parts.values())).warnings
        if each.ranking is None and all(each in part.warnings for part in parts.values())
    ]
    own = {
        name: part.model_copy(update={"warnings": warnings.listed([each for each in part.warnings if each not in shared])})
        for name, part in parts.items()
    }
    return LayeredResult(
        **about(first, resolved, job, version),
        layers={name: part for name, part in own.items() if not outcomes[name].context.joint},
        joint=next((part for name, part in own.items() if outcomes[name].context.joint), None),
        warnings=warnings.listed([*warnings.of_copies(resolved), *shared]),
    )


def arrays_of_layers(outcomes: Mapping[str, JobOutcome]) -> dict[str, np.ndarray]:
    """Return the arrays of a job: those of a layer are named `<layer>/<name>`, those of the whole
    job `<name>`.

    `outcomes`: as `summarise_layers` takes them.
    """
    full: dict[str, np.ndarray] = {}
    for name, outcome in outcomes.items():
        prefix = JOINT if outcome.context.joint else name
        whole = of_whole_job(outcome)
        full |= whole | {f"{prefix}/{each}": array for each, array in arrays(outcome).items() if each not in whole}
    return full
