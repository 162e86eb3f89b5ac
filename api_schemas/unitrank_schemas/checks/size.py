"""The size of a result in bytes: its arrays and its summary."""

from collections import Counter
from collections.abc import Iterator
from math import prod

from unitrank_schemas.facts.facts import (
    Facts,
    Flaw,
    LayerPlace,
    RankedPlace,
    cluster_count,
    explained_count,
    ranked_places,
    ranking_count,
    row_count,
    unit_count,
)
from unitrank_schemas.heatmaps import heatmap_axes
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.jobs.baselines import drawn_count
from unitrank_schemas.models import Layer
from unitrank_schemas.unit_examples import KEPT, LISTS, units_with_examples

FLOAT = 4
INT = 8
MOST_LISTED = 10**6
"""Examples of a job whose dataset rows the result lists. Of more, it lists the first ones."""
UNIT_EXAMPLES = INT + len(LISTS) * KEPT * (INT + FLOAT)
"""Bytes of the examples of one unit: its number, and rows and values in each list."""
TOP = 20
"""The number of units that a summary names for each cluster and ranking."""


def result_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    sizes = array_bytes(request, facts)
    # A result that would be too large with the examples of units, or with the steps from which
    # masks are made, is stored without them.
    for optional in ("unit_examples", "steps"):
        sizes.pop(optional, None)
    total = sum(sizes.values())
    if total > facts.max_result_bytes:
        largest = max(sizes, key=lambda part: sizes[part])
        parts = ", ".join(f"{part} {size}" for part, size in sizes.items() if size)
        detail = f"the result would have {total} bytes ({parts}); at most {facts.max_result_bytes} are allowed; {ADVICE[largest]}"
        yield Flaw(POINTERS[largest], "result_too_large", detail)
    elif (size := summary_bytes(request, facts)) > facts.max_result_bytes:
        detail = f"the summary would have about {size} bytes; at most {facts.max_result_bytes} are allowed; {ADVICE['summary']}"
        yield Flaw(POINTERS["summary"], "result_too_large", detail)


def summary_bytes(request: JobRequest, facts: Facts) -> int:
    """An upper estimate of the summary's bytes as JSON; 0 while model or dataset is not ready."""
    places = ranked_places(request, facts)
    if not places or facts.fields is None:
        return 0
    counts = [unit_count(request, each.place) for each in places]
    rankings = sum(_ranking_bytes(request, units) for units in [*counts, *([sum(counts)] if request.joint else [])])
    return cluster_count(request, facts) * (150 + ranking_count(request, facts) * rankings)


def _ranking_bytes(request: JobRequest, units: int) -> int:
    """An upper estimate of the bytes of a ranking in one cluster."""
    counts = len(request.ablation.counts_of(units)) if request.ablation else 0
    verified = 120 if request.ablation and request.ablation.verify else 0
    compared = 70 if drawn_count(request.baseline) > 1 else 0
    return 350 + 100 * min(TOP, units) + 250 * counts + verified + compared


def array_bytes(request: JobRequest, facts: Facts) -> dict[str, int]:
    """Kind of array → its bytes; empty while the model or the dataset is not ready."""
    places = ranked_places(request, facts)
    if not places or facts.fields is None:
        return {}
    parts = [_layer_bytes(request, facts, each) for each in places]
    units = sum(unit_count(request, each.place) for each in places)
    parts += [_joint_bytes(request, facts, units)] if request.joint else []
    sizes = Counter[str]()
    for part in parts:
        sizes.update(part)
    rows = row_count(request, facts)
    return {**sizes, "rows": (min(rows, MOST_LISTED) + _test_count(request, facts)) * INT}


def _test_count(request: JobRequest, facts: Facts) -> int:
    """An upper limit of the test examples: the job decides which examples test."""
    return min(row_count(request, facts), cluster_count(request, facts) * request.ablation.examples) if request.ablation else 0


def _joint_bytes(request: JobRequest, facts: Facts, units: int) -> dict[str, int]:
    """Bytes of the ranking of all layers' units together."""
    rankings, clusters, classes = ranking_count(request, facts), cluster_count(request, facts), explained_count(request, facts)
    return {"importance": 2 * rankings * clusters * units * FLOAT} | _study_bytes(
        request, units, _test_count(request, facts), clusters, rankings, classes
    )


def _study_bytes(request: JobRequest, units: int, tests: int, clusters: int, rankings: int, classes: int) -> dict[str, int]:
    """Bytes of the curves, and of the drops of test examples."""
    if request.ablation is None:
        return {"ablation": 0, "tests": 0}
    return {
        "ablation": _ablation_bytes(request.ablation, clusters, units, rankings, classes),
        "tests": _test_bytes(request.ablation, tests, rankings, classes),
    }


def _layer_bytes(request: JobRequest, facts: Facts, of_layer: LayerPlace) -> dict[str, int]:
    """Kind of array → its bytes for one layer."""
    layer, place = of_layer.layer, of_layer.place
    clusters, units, classes = cluster_count(request, facts), unit_count(request, place), explained_count(request, facts)
    rankings, rows = ranking_count(request, facts), row_count(request, facts)
    tests, kept = _test_count(request, facts), min(request.keep_examples * clusters, rows)
    sampled = classes * sum(method.costly for method in request.methods)
    with_examples = units_with_examples(rankings=rankings, clusters=clusters, units=units, classes=classes)
    pixels = classes * sum(_pixels(request, layer, place, method.spatial) for method in request.methods)
    return _baseline_bytes(request, rankings * clusters * units) | {
        "importance": (2 * rankings + sampled) * clusters * units * FLOAT,
        **_study_bytes(request, units, tests, clusters, rankings, classes),
        "pairs": rankings * clusters * ((request.ablation and request.ablation.pairs) or 0) ** 2 * FLOAT,
        "verify": rankings * clusters * _verified(request.ablation, units) * (INT + FLOAT),
        "examples": rankings * kept * units * FLOAT,
        "unit_examples": rankings * clusters * UNIT_EXAMPLES * with_examples,
        "heatmaps": pixels * (clusters + kept) * FLOAT,
        **({"steps": rankings * clusters * units * INT} if request.ablation and request.ablation.fill == "zero" else {}),
    }


def _baseline_bytes(request: JobRequest, numbers: int) -> dict[str, int]:
    """The drawn rows, and the spread over them of each number; empty with one baseline."""
    count = drawn_count(request.baseline)
    return {"baselines": count * INT * (1 + len(request.baseline.inputs)) + numbers * FLOAT} if count > 1 else {}


def _verified(ablation: Ablation | None, units: int) -> int:
    """The units of each ranking and cluster whose effect is measured one by one."""
    verify = ablation.verify if ablation else None
    return min(units, 2 * verify.top + verify.sample) if verify else 0


def _pixels(request: JobRequest, layer: Layer, place: RankedPlace, spatial: bool) -> int:
    """The number of pixels of one heatmap; 0 if the ranking has no heatmap."""
    axes = heatmap_axes(spatial, layer.kind, request.units, place.shape, place.channel_axis)
    return prod(place.shape[axis] for axis in axes) if axes else 0


def _ablation_bytes(ablation: Ablation, clusters: int, units: int, rankings: int, classes: int) -> int:
    columns = len(ablation.counts_of(units)) + 1
    curves = rankings * len(set(ablation.orders)) + classes * ablation.random
    return clusters * columns * curves * FLOAT


def _test_bytes(ablation: Ablation, tests: int, rankings: int, classes: int) -> int:
    orders = len({"most", "keep"} & set(ablation.orders)) if "most" in ablation.orders else 0
    return tests * FLOAT * (classes + rankings * orders)


POINTERS = {
    "importance": "/layer",
    "baselines": "/layer",
    "ablation": "/ablation",
    "tests": "/ablation/examples",
    "pairs": "/ablation/pairs",
    "verify": "/ablation/verify",
    "examples": "/keep_examples",
    "heatmaps": "/layer",
    "rows": "/clusters",
    "summary": "/clusters",
}
ADVICE = {
    "baselines": "use `units: channel`, one baseline, fewer methods or fewer clusters",
    "importance": "use `units: channel`, fewer methods, fewer clusters or a smaller layer",
    "ablation": "use fewer random orders or fractions",
    "tests": "use a smaller number for `ablation.examples`, or set a `limit` on the clusters",
    "pairs": "use a smaller number for `pairs`, fewer methods or fewer clusters",
    "verify": "verify fewer units, or use fewer methods or fewer clusters",
    "examples": "keep fewer examples",
    "heatmaps": "use fewer methods or fewer clusters, or keep fewer examples",
    "rows": "set a `limit` on the clusters",
    "summary": "use fewer clusters or fewer methods",
}
