"""The answer of a job with several layers: at which layer few units decide the score most."""

from collections.abc import Sequence

from unitrank_schemas.answer import Answer, Light
from unitrank_schemas.layer_lines import LayerLine
from unitrank_schemas.result_text import number

QUESTION = "Where in the network do few units decide the score{}?"
NO_AREA = "the score does not fall enough when all units are replaced"
EVERY_LAYER = "Each layer passes on the whole score. The layers differ in how few units carry it."


def layer_answer(lines: Sequence[LayerLine], cluster: str | None = None, *, in_sample: bool = False) -> Answer:
    """Return the answer. `lines`: those of the layers, without the units of all layers together.

    `cluster`: the cluster that the lines are about; None for all together. `in_sample`: whether the
    lists were tested on the examples that made them.
    """
    question = QUESTION.format("" if cluster is None else f" of cluster {cluster}")
    if all(line.verdict is None for line in lines):
        step = "Submit the job again with its test: leave the field ablation at its default."
        return Answer(
            "grey", "", question, "Not tested", "The job did not test its lists, so it cannot compare the layers.", [step]
        )
    if in_sample:
        reason = (
            "The lists were tested on the examples that made them, or may have been. On such examples even a random list passes."
        )
        return Answer("amber", "", question, "Not shown", reason, ["Submit the job again with ablation.split: half."])
    better = [line for line in lines if line.verdict == "better_than_random"]
    if not better:
        return _none_passed(lines, question)
    passed = sorted((line for line in better if line.area is not None), key=lambda line: -(line.area or 0.0))
    unmeasured = [line for line in better if line.area is None]
    if not passed:
        return _no_area(unmeasured, question)
    first, second = passed[0], passed[1] if len(passed) > 1 else None
    tied = [line for line in passed if _tied(first, line)]
    undecided = [line for line in lines if line.verdict in (None, "undecided")]
    # Without the noise of random orders a small lead may be chance.
    has_noise = second is None or first.noise is not None or second.noise is not None
    is_known = has_noise and not unmeasured and not undecided
    leads = "Mostly" if is_known else _leads(is_alone=second is None, is_decided=not undecided, is_measured=not unmeasured)
    word = f"{leads} at layer {first.layer}" if len(tied) == 1 else f"About equally at {_listed([line.layer for line in tied])}"
    beside = f"{_without_area(unmeasured)}{_undecided(undecided)}"
    reason = f"{_reason(first, second, tied, None if unmeasured else len(lines))}{beside}{_selectivity(passed)} {EVERY_LAYER}"
    light: Light = "green" if is_known and first.robust and len(tied) == 1 else "amber"
    return Answer(light, first.ranking, question, word, reason, _steps(first, cluster))


def _none_passed(lines: Sequence[LayerLine], question: str) -> Answer:
    undecided = [line.layer for line in lines if line.verdict == "undecided"]
    if undecided:
        reason = (
            f"No layer's best list passed its test. At {len(undecided)} of {len(lines)} layers the test is too small to decide."
        )
        step = "Submit the job again with more examples in each cluster, or with more random orders."
        return Answer("grey", "", question, "Not known", reason, [step])
    reason = "No layer's best list lowered the score faster than random orders did."
    return Answer("red", "", question, "Not shown", reason, ["Try other methods, other layers, or whole channels as units."])


def _no_area(unmeasured: Sequence[LayerLine], question: str) -> Answer:
    reason = f"{_without_area(unmeasured).strip()} So the layers cannot be compared."
    step = "Check the labels, preprocess and the baseline, or submit the job again with another replacement value (ablation.fill)."
    return Answer("grey", "", question, "Not known", reason, [step])


def _without_area(unmeasured: Sequence[LayerLine]) -> str:
    if not unmeasured:
        return ""
    where = _listed([line.layer for line in unmeasured])
    return f" At {where} the best list is better than random, but has no area: {NO_AREA}."


def _undecided(lines: Sequence[LayerLine]) -> str:
    """The sentences about layers whose lists have no verdict."""
    sentences = []
    for verdict, words in (("undecided", "the test is too small to decide"), (None, "no list was tested")):
        names = [line.layer for line in lines if line.verdict == verdict]
        sentences += [f" At {_listed(names)} {words}."] if names else []
    return "".join(sentences)


def _tied(first: LayerLine, line: LayerLine) -> bool:
    """Whether the areas of two layers differ by no more than the noise of random orders."""
    noise = max(first.noise or 0.0, line.noise or 0.0)
    return (first.area or 0.0) - (line.area or 0.0) <= noise


def _leads(*, is_alone: bool, is_decided: bool, is_measured: bool) -> str:
    """How the first layer leads where a larger area elsewhere is possible.

    `is_alone`: whether no other layer has an area to compare.
    `is_decided`, `is_measured`: whether each layer has a verdict, and each better one an area.
    """
    if not is_decided:
        return "Shown only" if is_alone else "Of the layers with a verdict, mostly"
    if is_alone:
        return "The area is known only"
    return "The largest area is" if is_measured else "The largest known area is"


def _reason(first: LayerLine, second: LayerLine | None, tied: Sequence[LayerLine], count: int | None) -> str:
    """Why the first layer leads. `count`: of the layers; None if others are better, too, without an
    area.
    """
    doubts = "" if first.robust is not False else " Not every check of this list agrees."
    if len(tied) > 1:
        return f"The areas of these layers differ by no more than the noise of random orders ({_areas(tied)}).{doubts}"
    if second is None and count is None:
        return f"Its area is {number(first.area)}, and no other layer has an area to compare.{doubts}"
    if count == 1:
        return f"Its best list is better than random (area {number(first.area)}).{doubts}"
    if second is None:
        return f"It is the only one of {count} layers whose best list is better than random (area {number(first.area)}).{doubts}"
    return (
        f"Replacing the first units of the list {first.ranking} at {first.layer} lowers the score faster than at the other "
        f"layers: its area is {number(first.area)}, and the next is {number(second.area)} at {second.layer}.{doubts}"
    )


def _selectivity(passed: Sequence[LayerLine]) -> str:
    """Where the units matter most to their own cluster alone; empty for one layer or cluster."""
    measured = [line for line in passed if line.selectivity is not None]
    most = max(measured, key=lambda line: line.selectivity or 0.0, default=None)
    if most is None or len(measured) < 2 or (most.selectivity or 0.0) <= 0:
        return ""
    return (
        f" The most selective units are at {most.layer}: they matter more to their own cluster than to the others "
        f"(selectivity {number(most.selectivity)})."
    )


def _areas(lines: Sequence[LayerLine]) -> str:
    return ", ".join(f"{number(line.area)} at {line.layer}" for line in lines[:4])


def _steps(first: LayerLine, cluster: str | None) -> list[str]:
    where = "" if cluster is not None else " in at least half of the clusters"
    steps = [f"Look at the units of layer {first.layer} first."]
    if first.units_for_90 is not None:
        steps.append(f"The first {first.units_for_90} of its {first.count} units keep 90\u00a0% of the score{where}.")
    return steps


def _listed(names: Sequence[str]) -> str:
    first = list(names[:3])
    more = len(names) - len(first)
    if more:
        return ", ".join(first) + f" and {more} more layers"
    return " and ".join([", ".join(first[:-1]), first[-1]] if len(first) > 1 else first)
