"""Taylor: the squared first-order change of the target."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.engine.in_process import rank
from tests.engine.nets import net_of, program
from unitrank_schemas.jobs import JobRequest

COUNT = 6


def job(folder: Path, methods: list[Any], **request: Any) -> dict[str, np.ndarray]:
    fields = {"x": net_of("convolutional").examples(COUNT).numpy()}
    options = {"target": {"class": 1}, "ablation": None, "fidelity": None, "keep_examples": COUNT} | request
    return rank(program("convolutional"), folder, fields, "features.3", methods, **options)[1]


@pytest.mark.parametrize("units", ["neuron", "channel"])
def test_taylor_is_the_square_of_the_first_order_change_of_the_whole_unit(units: str, tmp_path: Path) -> None:
    methods = ["taylor", {"name": "taylor", "id": "zero", "fill": "zero"}, "gradient_x_delta", "gradient_x_activation"]

    arrays = job(tmp_path, methods, units=units)

    for taylor, change in (("taylor", "gradient_x_delta"), ("zero", "gradient_x_activation")):
        squares = arrays[f"examples/{change}/all"].reshape(COUNT, -1).astype(float) ** 2
        np.testing.assert_allclose(arrays[f"examples/{taylor}/all"].reshape(COUNT, -1), squares, rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(arrays[f"importance/{taylor}"][0], squares.mean(0), rtol=1e-5, atol=1e-12)


def test_taylor_when_a_batch_is_smaller_then_resampled_values_are_the_same(tmp_path: Path, limit_rows: Any) -> None:
    entry = {"name": "taylor", "fill": "resample"}
    together = job(tmp_path, [entry])["importance/taylor"]

    limit_rows(1)

    np.testing.assert_allclose(job(tmp_path, [entry])["importance/taylor"], together, rtol=1e-4)


@pytest.mark.parametrize("statistic", ["mean_abs", "rms"])
def test_taylor_when_the_statistic_is_another_then_is_rejected(statistic: str) -> None:
    entry = {"name": "taylor", "statistic": statistic}

    with pytest.raises(ValidationError, match="statistic"):
        JobRequest.model_validate({"model": "m", "dataset": "d", "layer": "l", "methods": [entry]})
