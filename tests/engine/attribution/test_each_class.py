"""Scores of all classes at once equal those of one job for each class."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of, program
from unitrank_engine.attribution.each_class import conductances, losses
from unitrank_engine.job.baselines import find_baselines
from unitrank_schemas.methods import PathMethod

METHODS = [{"name": "conductance", "steps": 5}, "exact_ablation"]


@pytest.mark.parametrize(("name", "layer"), [("convolutional", "features.3"), ("attentive", "norm")])
def test_scores_of_all_classes_when_computed_at_once_then_equal_one_job_for_each_class(
    name: str, layer: str, tmp_path: Path
) -> None:
    fields = {"x": net_of(name).examples(5).numpy()}
    context = prepared(
        program(name), tmp_path, fields, layer=layer, methods=METHODS, inputs={next(iter(program(name).inputs)): "x"}
    )
    baselines, rows = find_baselines(context, 4), np.arange(5)
    entry = cast(PathMethod, context.request.methods[0]).model_copy(update={"spacing": "cubic"})

    together = torch.cat(list(conductances(context, baselines, entry, rows, 2)), 1)
    lost = torch.cat(list(losses(context, baselines, rows, 2)), 1)

    for number in range(len(together)):
        settings = {"target": {"class": number}, "keep_examples": 5}
        _, arrays = rank(program(name), tmp_path, fields, layer, METHODS, ablation=None, fidelity=None, **settings)
        np.testing.assert_allclose(together[number], arrays["examples/conductance/all"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(lost[number], arrays["examples/exact_ablation/all"].reshape(5, -1), rtol=1e-4, atol=1e-6)


def test_scores_of_an_output_without_classes_equal_the_scores_of_a_job(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0))
    program, fields = program_of(net, torch.ones(2, 4)), {"x": torch.randn(5, 4).numpy()}
    context = prepared(program, tmp_path, fields, layer="1", methods=METHODS, inputs={"input": "x"}, target={"class": None})
    baselines, rows = find_baselines(context, 4), np.arange(5)
    entry = cast(PathMethod, context.request.methods[0]).model_copy(update={"spacing": "cubic"})

    (together,) = torch.cat(list(conductances(context, baselines, entry, rows, 2)), 1)
    (lost,) = torch.cat(list(losses(context, baselines, rows, 2)), 1)

    settings = {"target": {"class": None}, "keep_examples": 5, "ablation": None, "fidelity": None}
    _, arrays = rank(program, tmp_path, fields, "1", METHODS, **settings)
    np.testing.assert_allclose(together, arrays["examples/conductance/all"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(lost, arrays["examples/exact_ablation/all"], rtol=1e-4, atol=1e-6)
