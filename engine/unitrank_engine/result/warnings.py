"""Warnings of a result. Each names what is doubtful, the measured value, and what to do."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unitrank_engine.attribution.examples.sums import MAX_GAP, ExampleSums
from unitrank_engine.attribution.fidelity import MOST_DROPS, sampled_share
from unitrank_engine.attribution.statistics import Moments
from unitrank_engine.job.clusters.hashed_order import blocks
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import has_classes, is_linear
from unitrank_engine.methods.batch import Notes
from unitrank_engine.methods.given import with_unknown_rows
from unitrank_engine.program.outputs.activation import final_activation
from unitrank_engine.result.arrays import listed_rows
from unitrank_schemas.checks.size import MOST_LISTED
from unitrank_schemas.methods import MethodBase, PathMethod
from unitrank_schemas.results import ClusterRanking, Warn

MAX_GAP_OF_REPLACED = 0.01
"""The same where the default spacing failed, so that the spacing `adaptive` replaced it."""
MAX_CANCELLATION = 0.6
"""Share of the scores that may cancel in the signed mean without a warning."""

MIN_CANCELLATION = 0.2
"""Below, too little cancels for a warning, also where the mean is as small as noise."""
MOST_OF_A_CODE = 20
"""Warnings of one code that a result lists; a last one has the number of the others."""


def of_job(context: JobContext, entries: Sequence[MethodBase]) -> Iterator[Warn]:
    """Warnings that hold for all clusters and rankings."""
    request = context.request
    if request.ablation and request.ablation.split == "none" and any(entry.scores_examples for entry in entries):
        yield Warn(
            code="in_sample",
            detail="the rankings were tested on the examples that made them (split 'none'), where even noise passes the test; "
            "use split 'half' for a verdict",
        )
    if context.cut and context.split.linear and is_linear(request.target):
        yield Warn(
            code="last_hidden_layer",
            detail=f"the model is linear after layer '{request.one_layer}', so every method that uses the difference from the "
            "baseline (h − h′) is exact there; compare methods at an earlier layer",
        )
    shortfall = request.clusters.shortfall(len(context.clusters))
    if shortfall is not None:
        yield Warn(code="fewer_clusters", detail=shortfall)
    fills = {fill for fill in (request.ablation and request.ablation.fill, request.fidelity and request.fidelity.fill) if fill}
    with_baseline = [entry.id or entry.name for entry in entries if entry.needs_baseline]
    if with_baseline and fills - {"baseline"}:
        yield Warn(
            code="fill_differs_from_baseline",
            detail=f"{', '.join(with_baseline)}: the scores explain the change from the baseline, but units are replaced by "
            f"'{sorted(fills - {'baseline'})[0]}'; use fill 'baseline' to test the change that is explained",
        )


def of_joint(context: JobContext) -> Iterator[Warn]:
    """The warning that scores of different layers have different units."""
    different = [str(entry.id) for entry in context.request.methods if not entry.in_units_of_target and entry.name != "random"]
    if different:
        yield Warn(
            code="layers_not_comparable",
            detail=f"{', '.join(different)}: these scores are not changes of the target, so their size depends on the scale of "
            "each layer, and the ranking of all layers' units together can prefer a layer for its scale; use 'conductance', "
            "'exact_ablation' or 'gradient_x_delta' for it",
        )


def of_size(context: JobContext) -> Iterator[Warn]:
    """Warnings about parts of the result that have not all examples of a very large job."""
    listed, ranked = listed_rows(context), sum(len(cluster.rows) for cluster in context.clusters)
    if listed is not None:
        yield Warn(
            code="rows_not_listed",
            detail=f"the arrays rows/<cluster> have only the first {listed} rows of each cluster, because the job ranks {ranked} "
            f"examples, and the rows of at most {MOST_LISTED} are listed; set a `limit` on the clusters if you need all rows",
        )
    if context.request.fidelity and sampled_share(context) is not None:
        yield Warn(
            code="fidelity_of_a_sample",
            detail=f"`spearman`, `mann_whitney`, `wilcoxon` and `mean_difference` of the fidelity are those of about {MOST_DROPS} "
            f"of the job's {len(context.all_rows())} examples, drawn with `seed`; `mae`, `mae_of_zero` and `bias` are those of all",
        )


def of_copies(resolved: Mapping[str, Any]) -> Iterator[Warn]:
    """The warning that a dataset's shards were copied. `resolved`: as `summarise` takes it."""
    if resolved.get("copied"):
        yield Warn(
            code="dataset_copied",
            detail="the shards of the dataset hold compressed arrays, or arrays in Fortran order, so their rows were copied once "
            "into one file; save shards with numpy.savez or safetensors, and they are read where they are",
        )


def of_given(context: JobContext, entries: list[MethodBase]) -> Iterator[Warn]:
    """Warnings about given scores whose rows are not known."""
    for entry in with_unknown_rows(entries) if context.request.ablation else []:
        yield Warn(
            code="in_sample_unknown",
            detail="the scores came with the job, and the request does not say which examples made them, so this ranking may be "
            "tested on the examples that made it, where even noise passes the test; set `made_on` to a boolean field that "
            "is true in these rows, or to 'none' if no row of this dataset made the scores",
            ranking=entry.id,
        )


def of_target(context: JobContext, sums: ExampleSums) -> Iterator[Warn]:
    """Warnings about a target that is perhaps not the one that the request means."""
    target, name = context.request.target, context.output
    node = context.program.outputs[name].node
    classes = has_classes(target, node.meta["val"])
    if not classes and _labels_are_binary(context):
        yield Warn(
            code="single_logit",
            detail=f"output '{name}' has one value for each example, the labels are 0 and 1, and `target.class` is null, so every "
            "example is explained by the raw value, which is usually the evidence for class 1; set `target.class` to 'label' to "
            "explain each example by the evidence for its own class",
        )
    activation, (count, _, resemble) = final_activation(node), sums.of_job.tolist()
    if classes and target.output_is == "logits" and (activation or resemble == count):
        reason = f"is the result of a {activation}" if activation else "has the range and the sum of probabilities on all examples"
        yield Warn(
            code="output_is_probability",
            detail=f"output '{name}' {reason}, but the scores were computed from its values as from logits; set `target.output_is` "
            "to 'probabilities' if the values are probabilities",
        )


def _labels_are_binary(context: JobContext) -> bool:
    rows = context.all_rows()
    blocks_of_labels = (context.examples.labels(rows[block]) for block in blocks(len(rows)))
    return all(labels is not None and bool(((labels == 0) | (labels == 1)).all()) for labels in blocks_of_labels)


def of_cluster(context: JobContext, sums: ExampleSums, cluster: int, entries: list[MethodBase]) -> Iterator[Warn]:
    """Warnings about the examples of one cluster."""
    name, count = context.clusters[cluster].name, len(context.clusters[cluster].rows)
    units = context.units
    if not units.single and units.kind != "channel" and units.count > count:
        yield Warn(
            code="more_units_than_examples",
            detail=f"the ranking orders {units.count} units by the scores of {count} examples, which cannot tell all of them "
            "apart; use fewer groups, more examples or larger clusters, and rely on `in_top` for single units",
            cluster=name,
        )
    same = int(sums.at_baseline[cluster])
    if same:
        yield Warn(
            code="baseline_in_cluster",
            detail=f"{same} of {count} examples equal their baseline, so there is no change of the target to explain; "
            "leave them out, or choose another baseline",
            cluster=name,
        )
    equal = int(sums.against[cluster])
    if equal:
        yield Warn(
            code="against_is_class",
            detail=f"{equal} of {count} examples are explained for the class that they are compared with, so their scores "
            "are 0 and make the importances smaller; leave these examples out, or choose another `target.against`",
            cluster=name,
        )
    classes = sums.classes_of(cluster)
    if classes > 1:
        yield Warn(
            code="mixed_targets",
            detail=f"the examples are explained for {classes} different classes, whose signed scores cancel in the mean; "
            "use clusters by label or by prediction, which have one class each",
            cluster=name,
        )
    flat = int(sums.flat[cluster])
    if 2 * flat > count:
        for entry in entries:
            if entry.looks_at_input_only():
                yield Warn(
                    code="saturated",
                    detail=f"the gradient at the input is exactly zero for {flat} of {count} examples; use conductance, "
                    "which takes gradients along the whole path, or the score 'logit', which saturates less than 'probability'",
                    cluster=name,
                    ranking=entry.id,
                )


def of_ranking(context: JobContext, cluster: int, entry: MethodBase, moments: Moments, result: ClusterRanking) -> Iterator[Warn]:
    """Warnings about one ranking of one cluster."""
    name = context.clusters[cluster].name
    cancellation = result.cancellation
    is_noise = moments.looks_like_noise()
    if (
        entry.statistic == "mean"
        and cancellation is not None
        and (cancellation >= MAX_CANCELLATION or (is_noise and cancellation >= MIN_CANCELLATION))
    ):
        yield Warn(
            code="signed_cancellation",
            detail=f"{cancellation:.0%} of the scores cancel in the mean over {moments.m} examples"
            + (", and the rest is no larger than the mean of random noise of this size" if is_noise else "")
            + "; use statistic 'mean_abs', or a method whose sign means the same for all examples",
            cluster=name,
            ranking=entry.id,
        )


def of_path(context: JobContext, cluster: int, entry: MethodBase, gap: float, hidden: float) -> Iterator[Warn]:
    """The warning that the points of a path do not resolve where the target changes.

    `gap`: the relative gap of the cluster's paths.
    `hidden`: a relative gap that the sum over units does not show (`PathGap.hidden`).
    """
    if not isinstance(entry, PathMethod):
        return
    replaced = entry.spacing == "adaptive" and _spacing_is_open(context, entry)
    limit = MAX_GAP_OF_REPLACED if replaced else MAX_GAP
    if gap <= limit and hidden <= MAX_GAP:
        return
    if gap > limit:
        about = "" if context.split.cut else "about "
        measured = f"the relative gap is {about}{gap:.2g}, and at most {limit:g} is accepted"
    else:
        measured = f"the estimated relative error of single units is {hidden:.2g}, and at most {MAX_GAP:g} is accepted"
    advice = ["use more `steps`" if entry.spacing == "adaptive" else "use `spacing: adaptive` or more `steps`"]
    if gap > limit and context.split.cut and entry.tolerance is None:
        advice.append("a `tolerance`, which doubles the steps of each example until its gap is small enough")
    if context.program.looked_up and context.request.baseline.kind == "zeros":
        advice.append("the baseline `mean`, because no word has an embedding of zeros")
    yield Warn(
        code="path_not_resolved",
        detail=f"the target changes between the path's {entry.steps} steps with spacing '{entry.spacing}', so the scores can be "
        f"wrong in size, order and sign: {measured}; {', or '.join(advice)}",
        cluster=context.clusters[cluster].name,
        ranking=entry.id,
    )


def _spacing_is_open(context: JobContext, entry: PathMethod) -> bool:
    """Whether the request leaves the entry's spacing open."""
    entries = [each for each in context.request.methods if each.id == entry.id]
    return any(isinstance(each, PathMethod) and each.spacing is None for each in entries)


def of_method(entry: MethodBase, notes: Notes) -> Iterator[Warn]:
    """Warnings that the method reported while it ran."""
    for code, detail in notes.warnings:
        yield Warn(code=code, detail=detail, ranking=entry.id)


def listed(warnings: list[Warn]) -> list[Warn]:
    """Return the warnings with at most 20 of each code, then one with the number of the others."""
    kept: list[Warn] = []
    counts = Counter[str]()
    for warning in warnings:
        counts[warning.code] += 1
        if counts[warning.code] <= MOST_OF_A_CODE:
            kept.append(warning)
    more = {code: count - MOST_OF_A_CODE for code, count in counts.items() if count > MOST_OF_A_CODE}
    return kept + [
        Warn(code=code, detail=f"{count} more warnings with this code, about other clusters and rankings, are not listed")
        for code, count in more.items()
    ]
