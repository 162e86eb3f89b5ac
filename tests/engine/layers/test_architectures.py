"""All layers of ordinary architectures in one job have the scores of jobs on one layer each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.architectures.conftest import loaded
from tests.engine.architectures.test_architectures import ALWAYS
from tests.engine.architectures.zoo import MAKERS, architecture
from tests.engine.in_process import rank
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program

__all__ = ["loaded"]
PATH = {"steps": 3, "spacing": "uniform"}
METHODS: list[Any] = [
    "activation",
    "gradient",
    {"name": "gradient_x_delta", "at_point": "mean"},
    {"name": "conductance", **PATH},
    {"name": "integrated_gradients", **PATH},
]
SETTINGS: dict[str, Any] = {"target": {"class": "predicted"}, "fidelity": None}
MOST_LAYERS = 12
CHECKED = ("resnet", "unet", "gpt2", "state_space", "complex")
MARKS = dict.fromkeys(ALWAYS, ()) | dict.fromkeys(CHECKED, pytest.mark.check)
NAMES = [pytest.param(name, marks=MARKS.get(name, pytest.mark.slow)) for name in MAKERS]
"""`make test` runs `ALWAYS`, and `make check-tests` those of other kinds in `CHECKED`."""


def _layers(program: Program) -> list[str]:
    """Some layers with a gradient, from the first to the last."""
    layers = [layer.name for layer in manifest(program).layers if layer.differentiable]
    return [layers[index] for index in np.unique(np.linspace(0, len(layers) - 1, MOST_LAYERS).astype(int))]


@pytest.mark.parametrize("name", NAMES)
def test_scores_when_all_layers_are_in_one_job_then_equal_to_jobs_on_one_layer(
    name: str, loaded: Callable[[str], Program], tmp_path: Path
) -> None:
    program = loaded(name)
    fields, layers = {field: values.numpy() for field, values in architecture(name).inputs.items()}, _layers(program)
    ablation = {"fractions": [0.3], "random": 3}

    _, arrays = rank(program, tmp_path, fields, layers, METHODS, ablation=ablation, joint=True, **SETTINGS)

    for layer in layers:
        _, alone = rank(program, tmp_path, fields, layer, METHODS, ablation=None, **SETTINGS)
        for array in (each for each in alone if each.startswith("importance/")):
            scale = float(np.abs(alone[array]).max())
            np.testing.assert_allclose(
                arrays[f"{layer}/{array}"], alone[array], rtol=1e-4, atol=1e-5 * scale, err_msg=f"{layer} {array}"
            )
    assert np.isfinite(arrays["joint/ablation/random"]).all()
    # Replacing no unit gives the same score at every layer and at all layers together.
    for layer in layers:
        np.testing.assert_allclose(
            arrays["joint/ablation/random"][:, :, 0], arrays[f"{layer}/ablation/random"][:, :, 0], rtol=1e-4, atol=1e-5
        )
