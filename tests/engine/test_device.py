"""A missing device is reported before the first job."""

import pytest
import torch

from unitrank_engine.device import claim, reset_peak_bytes
from unitrank_engine.errors import EngineError


def test_claim_when_the_device_is_there_then_returns() -> None:
    claim("cpu")


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="has an eighth GPU")
def test_claim_when_the_device_is_missing_then_says_so() -> None:
    with pytest.raises(EngineError, match=r"'cuda:7' cannot be used") as caught:
        claim("cuda:7")

    assert caught.value.code == "no_device"


def test_claim_when_a_device_is_claimed_then_its_convolutions_are_exact_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)

    claim("cpu")

    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic


def test_peak_when_a_gpu_has_run_other_jobs_then_counts_only_the_new_job(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", devices.append)

    reset_peak_bytes(torch.device("cpu"))
    reset_peak_bytes(torch.device("cuda:1"))

    assert devices == [torch.device("cuda:1")]
