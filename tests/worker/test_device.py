"""A device that is not there is found before the first job."""

import pytest
import torch

from worker.device import claim
from worker.errors import EngineError


def test_claim_when_the_device_is_there_then_returns() -> None:
    claim("cpu")


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="has an eighth GPU")
def test_claim_when_the_device_is_missing_then_says_so() -> None:
    with pytest.raises(EngineError, match=r"'cuda:7' cannot be used") as caught:
        claim("cuda:7")

    assert caught.value.code == "no_device"
