"""Checks of the ablation study: the field that splits the clusters, and the fill `resample`."""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import Facts, Flaw, example_count
from unitrank_schemas.facts.fields import names_groups
from unitrank_schemas.jobs import JobRequest


def split_exists(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.ablation is not None and request.ablation.split not in ("half", "none"):
        yield from names_groups("/ablation/split", request.ablation.split, facts)


def resample_has_others(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.fields is None or example_count(request, facts) != 1:
        return
    fills = {
        "/ablation/fill": request.ablation and request.ablation.fill,
        "/ablation/check_fill": request.ablation and request.ablation.check_fill,
        "/fidelity/fill": request.fidelity and request.fidelity.fill,
    }
    for at, fill in fills.items():
        if fill == "resample":
            detail = "`resample` takes values from another example, but the job has only one; use `baseline`, `zero` or `mean`"
            yield Flaw(at, "resample_needs_examples", detail)
