"""On a CUDA device, jobs give the numbers of the CPU. Skipped without a CUDA device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import export, rank
from unitrank_engine.device import round_to_float32
from unitrank_engine.methods import METHODS
from unitrank_engine.program import Program

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
RANDOM = np.random.default_rng(0)
FIELDS = {"x": RANDOM.normal(size=(300, 3, 8, 8)).astype(np.float32), "y": RANDOM.integers(3, size=300)}
FIELDS["scores"] = RANDOM.normal(size=(300, 288))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.GELU(),
        nn.Linear(16, 3),
    )


def job(device: str, folder: Path, methods: list[Any], **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    round_to_float32()
    folder.mkdir()
    program = Program.from_exported(export(net(), torch.zeros(2, 3, 8, 8)), device)
    return rank(program, folder, FIELDS, "2", methods, **request)


def test_scores_when_computed_on_a_gpu_then_equal_those_of_the_processor(tmp_path: Path) -> None:
    methods: list[Any] = [name for name in METHODS if name != "given"]
    methods += [{"name": "given", "importance": list(range(288)), "id": "brought"}, {"name": "given", "field": "scores"}]

    _, cpu = job("cpu", tmp_path / "cpu", methods, ablation=None)
    summary, cuda = job("cuda", tmp_path / "cuda", methods, ablation=None)

    for name, want in cpu.items():
        np.testing.assert_allclose(cuda[name], want, rtol=1e-3, atol=1e-4 * np.abs(want).max(), err_msg=name)
    assert summary["cost"]["device"] == "cuda"
    assert summary["cost"]["peak_bytes"] > 0


def test_result_when_a_job_is_run_twice_on_a_gpu_then_is_equal_to_the_bit(tmp_path: Path) -> None:
    methods = ["gradient_x_delta", "conductance", "deeplift", "exact_ablation"]

    _, first = job("cuda", tmp_path / "first", methods)
    _, second = job("cuda", tmp_path / "second", methods)

    assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def test_rows_when_the_device_is_short_of_memory_then_are_halved_and_the_scores_stay(tmp_path: Path) -> None:
    _, free = job("cuda", tmp_path / "free", ["conductance"], ablation=None)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 24 * 2**20) / total)
    try:
        _, short = job("cuda", tmp_path / "short", ["conductance"], ablation=None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    np.testing.assert_allclose(short["importance/conductance"], free["importance/conductance"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_conductance_when_its_passes_are_rounded_then_is_close_and_other_methods_are_unchanged(
    precision: str, tmp_path: Path
) -> None:
    rounded = {"name": "conductance", "id": "rounded", "precision": precision}

    _, arrays = job("cuda", tmp_path / "job", ["conductance", rounded, "deeplift"])
    _, alone = job("cuda", tmp_path / "alone", ["deeplift"])

    want = arrays["importance/conductance"]
    assert 0 < np.abs(arrays["importance/rounded"] - want).max() <= 0.05 * np.abs(want).max()
    assert np.array_equal(arrays["importance/deeplift"], alone["importance/deeplift"])
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
