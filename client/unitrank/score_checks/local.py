"""Checks scores in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unitrank.client.given import Entry, LocalScores
from unitrank.inprocess import NAME, LocalJobs, local_jobs, parsed
from unitrank.score_checks.candidates import Request
from unitrank.score_checks.given_scores import GivenScores, given_scores
from unitrank.score_checks.question import Steps, answered, question_of
from unitrank.score_checks.score_check import SCORES, ScoreCheck
from unitrank_schemas.datasets import FieldInfo

if TYPE_CHECKING:
    import torch

STATE_LAYERS = ("_DropoutNd", "_NormBase", "RReLU")
"""Base classes of torch's layers that act differently in training mode."""


def check_scores(
    module: torch.nn.Module,
    data: Any,
    layer: str,
    scores: Any,
    *,
    at: str = "output",
    target: Mapping[str, Any] | None = None,
    clusters: Mapping[str, Any] | None = None,
    made_on: str | None = None,
    example_inputs: Any = None,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    **request: Any,
) -> ScoreCheck:
    """Finds which known scores your own scores are, and tests them against random orders.

    The scores are compared with activation, gradient, gradient × activation, gradient × delta,
    conductance, integrated gradients and DeepLIFT, with each statistic: as they are, up to a
    factor, with the sign reversed, over the first examples only, at other places of the network,
    and for other targets. The computation runs in this process.

    Args:
        module: the network, which is not changed.
        data: the examples that made the scores, in the same order: an array of inputs; a mapping of
            fields such as `{"x": …, "y": …}`; the path of an .npz or safetensors file; or a
            torch.utils.data.Dataset.
        layer: name of the layer whose units have the scores.
        scores: a score for each unit, averaged over the examples; a mapping of clusters to such
            scores; or the path of a file with one array, or one array for each cluster.
        at: `output` or `input` of the layer.
        target: the class and the score that are explained, as in a job's request; None: the
            logit of the labelled class, or of the predicted class without labels.
        clusters: groups of examples, as in a job's request; None: one cluster, or the labels where
            `scores` is a mapping.
        made_on: a boolean field of the rows that made the scores, which do not test them; or `none`
            if no row made them.
        example_inputs: example inputs as `export` takes them; only a network with several inputs
            needs them.
        device: `cpu`, `cuda` or `cuda:N`.
        report: called with each state of the progress.
        request: the other fields of a job's request, such as `baseline` or `ablation`.

    Raises the errors of `rank`, and NotPossible if the scores cannot be read.

    >>> import numpy as np
    >>> import torch
    >>> import unitrank
    >>> network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    >>> x, y = torch.randn(20, 4), torch.arange(20) % 2
    >>> h = network[0](x).detach().requires_grad_()
    >>> network[2](network[1](h))[range(20), y].sum().backward()
    >>> unitrank.check_scores(network, {"x": x, "y": y}, "0", h.grad[:8].mean(0)).relation
    'first_examples'
    """
    own = given_scores(scores)
    base = {"at": at, "target": dict(target or {}), "clusters": clusters or own.clusters, **request}
    base = {"model": NAME, "dataset": NAME, "layer": layer, **base}
    parsed({**base, "methods": ["gradient"]})
    fields = {"x": data} if _is_array(data) else {}
    local = LocalScores.of([own.ranking(SCORES, made_on)], 0)
    options = {"example_inputs": example_inputs, "device": device, "scores": local.tables}
    with local_jobs(module, None if fields else data, fields, **options) as jobs:
        return check_with(jobs, module, base, own, local.methods[0], report)


def check_with(
    jobs: LocalJobs,
    module: torch.nn.Module,
    request: Request,
    own: GivenScores,
    given: Entry | None = None,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
) -> ScoreCheck:
    """Checks scores with jobs on the network.

    `request`: the fields of a job without `methods`.
    `given`: the entry of `methods` with the scores; None: the scores stand in the request.
    """
    fields = {name: FieldInfo(**info) for name, info in jobs.table.fields.items()}
    scores = own.ranking(SCORES, None)
    question = question_of(request, own, given or scores.entry(importance=scores.importance()), jobs.manifest, fields)
    question = replace(question, state_layers=_state_layers(module), is_training=module.training)

    def run(job: Request) -> Steps:
        yield from ()
        return jobs.run(parsed(job), report)

    return _last(answered(question, run))


def _state_layers(module: torch.nn.Module) -> tuple[str, ...]:
    """The classes of the layers that act differently in training mode."""
    # Dropout with the probability 0 changes nothing.
    kinds = {type(each) for each in module.modules() if getattr(each, "p", None) != 0}
    return tuple(sorted(kind.__name__ for kind in kinds if any(base.__name__ in STATE_LAYERS for base in kind.__mro__)))


def _is_array(data: Any) -> bool:
    return hasattr(data, "__array__") or isinstance(data, list)


def _last(steps: Generator[Any, Any, ScoreCheck]) -> ScoreCheck:
    """The value of a generator that yields nothing."""
    try:
        next(steps)
    except StopIteration as end:
        check: ScoreCheck = end.value
        return check
    raise AssertionError("a job in this process takes no steps")
