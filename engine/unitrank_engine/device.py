"""The device that a worker computes on: its check at start, its rounding, its memory."""

import torch

from unitrank_engine.errors import EngineError


def claim(device: str) -> None:
    """Use the device once, so that a missing or full device raises an error before the first job.

    `device`: "cpu" or "cuda:N". Raises EngineError `no_device`.
    """
    round_to_float32()
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            "no_device",
            f"device '{device}' cannot be used: {reason}; use cpu, or cuda:N with a number that `nvidia-smi` lists "
            "and a CUDA build of PyTorch",
        ) from error


def round_to_float32() -> None:
    """Make cuDNN's convolutions keep all bits of float32 and add in the same order in every run.

    By default cuDNN rounds the factors to 10 bits (TF32), a relative error of 1e-3 in every score.
    The setting lasts until the process ends.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def total_bytes(device: str) -> int:
    """Return the memory of a GPU, in bytes; 0 for a CPU. `device`: "cpu" or "cuda:N"."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device != "cpu" else 0


def reset_peak_bytes(device: torch.device) -> None:
    """Start a new count for `peak_bytes`, because the process has run other jobs before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Return the largest memory that was allocated on a GPU at one time, in bytes; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
