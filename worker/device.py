"""The device that a worker computes on."""

import torch

from worker.errors import EngineError


def claim(device: str) -> None:
    """Uses the device once, so that one which is missing or full is found before the first job. Raises EngineError."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            "no_device",
            f"device '{device}' cannot be used: {reason}; `nvidia-smi` shows what is there, and a CUDA build of PyTorch is needed",
        ) from error
