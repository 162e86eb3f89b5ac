"""The device that a worker computes on, and how exactly."""

import torch

from unitrank_engine.errors import EngineError


def claim(device: str) -> None:
    """Uses the device once, so that one which is missing or full is found before the first job. Raises EngineError."""
    exactly()
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            "no_device",
            f"device '{device}' cannot be used: {reason}; `nvidia-smi` shows what is there, and a CUDA build of PyTorch is needed",
        ) from error


def exactly() -> None:
    """From now on a GPU's convolutions keep all bits of float32 and add in the same order every time.

    By default cuDNN rounds their factors to 10 bits (TF32), a relative error of 1e-3 in every score.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def forget_peak(device: torch.device) -> None:
    """The most memory in use is counted anew: the process has run other jobs before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory that was in use on a GPU at once; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
