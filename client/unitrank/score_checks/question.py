"""The question whether scores answer a request, and the jobs that answer the question."""

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

from unitrank.client.given import Entry
from unitrank.errors import InvalidRequest, JobFailed, NotPossible
from unitrank.results import JobResult
from unitrank.score_checks.candidates import Network, Request, unit_count
from unitrank.score_checks.given_scores import GivenScores
from unitrank.score_checks.investigation import Question, investigate
from unitrank.score_checks.score_check import ScoreCheck
from unitrank_schemas.checks.defaults import can_label
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.models import Layer, Manifest, Model

# Any: the values that a flow of the client receives.
Steps = Generator[Any, Any, JobResult]


def question_of(
    request: Request, own: GivenScores, given: Entry, model: Manifest | Model, fields: Mapping[str, FieldInfo]
) -> Question:
    """The question whether these scores answer the request.

    Raises NotPossible for another shape, and for a list of layers.

    `given`: the entry of `methods` with the scores.
    `fields`: the fields of the dataset.
    """
    if not isinstance(request["layer"], str):
        detail = f"the scores belong to one layer, got a list of {len(request['layer'])} layers; call it once for each layer"
        raise NotPossible(detail, code="invalid_request")
    layers, outputs = model.layers or [], model.outputs or []
    output = next((port for port in outputs if request.get("output") in (None, port.name)), None)
    layer = next((each for each in layers if each.name == request["layer"]), None)
    if output is None or layer is None:
        # The first job is refused, with the names that exist.
        return Question(request, given, None, False)
    has_labels = request.get("labels") is not None or can_label(fields.get("y"))
    return Question({"units": _units(request, own, layer), **request}, given, Network(layers, output), has_labels)


def answered(question: Question, run: Callable[[Request], Steps]) -> Generator[Any, Any, ScoreCheck]:
    """Runs the jobs of an investigation, and returns its answer. `run` runs one job."""
    jobs = investigate(question)
    proceed: Callable[[], Request] = partial(next, jobs)
    while True:
        try:
            request = proceed()
        except StopIteration as end:
            check: ScoreCheck = end.value
            return check
        try:
            proceed = partial(jobs.send, (yield from run(request)))
        except (InvalidRequest, JobFailed) as error:
            proceed = partial(jobs.throw, error)


def _units(request: Request, own: GivenScores, layer: Layer) -> Any:  # Any: a JSON value
    """The first units of the place with the number of the scores."""
    kinds = _kinds(layer, request["at"])
    counts = {name: unit_count(layer, request["at"], {"units": units}) for name, units in kinds.items()}
    fitting = [name for name, count in counts.items() if count == own.size]
    if not fitting and "units" not in request:
        expected = " or ".join(f"{count} {name}s" for name, count in counts.items() if count is not None)
        raise NotPossible(
            f"there are {own.size} scores, but the {request['at']} of layer {layer.name!r} has {expected}; give one score for "
            "each, averaged over the examples",
            code="wrong_shape",
        )
    return kinds[fitting[0]] if fitting else "neuron"


def _kinds(layer: Layer, at: str) -> dict[str, Any]:
    """Word → units that the place can have."""
    heads = layer.head_units(at)
    return {
        "neuron": "neuron",
        "channel": "channel",
        **({"head": heads.model_dump()} if heads else {}),
        "position": "position",
    }
