"""`stft` and `istft` as frames, windows and Fourier transforms.

torch's operators take the frames from the memory by strides.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

from unitrank_engine.errors import EngineError

aten = torch.ops.aten


def stft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The Fourier transform of each frame of `x`, as [*, frequency, frame].

    Raises EngineError `program_refused` for sizes that do not fit.
    """
    hop, length = _sizes(x, n_fft, hop_length, win_length, window)
    if align_to_window:
        raise EngineError("program_refused", "stft with align_to_window cannot be used; leave this argument out")
    frames = x.unfold(-1, n_fft, hop) * _window(x, n_fft, length, window)
    one_sided = not (x.is_complex() or (window is not None and window.is_complex())) if onesided is None else onesided
    spectrum = torch.fft.rfft(frames) if one_sided else torch.fft.fft(frames)
    result = spectrum.transpose(-1, -2) / (sqrt(n_fft) if normalized else 1)
    return result if return_complex or (return_complex is None and x.is_complex()) else torch.view_as_real(result)


def stft_centred(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """`stft` whose first frame has the first value of `x` in its middle."""
    if center:
        axes = x.dim()
        padded = functional.pad(x.reshape([1] * (3 - axes) + list(x.shape)), [n_fft // 2, n_fft // 2], pad_mode)
        x = padded.reshape(padded.shape[3 - axes :])
    return stft(x, n_fft, hop_length, win_length, window, normalized, onesided, return_complex, align_to_window)


def istft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose frames, times the window, have this spectrum: the weighted mean of frames.

    Raises EngineError `program_refused` for sizes that do not fit.
    """
    hop, window_length = _sizes(x, n_fft, hop_length, win_length, window)
    if return_complex or not x.is_complex():
        raise EngineError("program_refused", "istft gives real signals from complex spectra only; leave return_complex out")
    one_sided = x.shape[-2] != n_fft if onesided is None else onesided
    weights = _window(x, n_fft, window_length, window)
    spectrum = x.transpose(-1, -2) * (sqrt(n_fft) if normalized else 1)
    half = spectrum if one_sided else spectrum[..., : n_fft // 2 + 1]
    frames = torch.fft.irfft(half, n_fft)
    count = x.shape[-1]
    squares = (weights * weights).expand(count, n_fft)
    whole = (count - 1) * hop + n_fft
    start = n_fft // 2 if center else 0
    kept = slice(start, min(whole - start if length is None else start + length, whole))
    # The windows can be 0 at the ends, which are cut off before the division.
    signal = _overlapped(frames * weights, hop)[..., kept] / _overlapped(squares, hop)[..., kept]
    return signal if length is None else functional.pad(signal, [0, length - signal.shape[-1]])


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """The sum of frames [*, frame, value]. A frame begins `hop` values behind the one before it."""
    count, size = frames.shape[-2:]
    positions = torch.arange(count, device=frames.device)[:, None] * hop + torch.arange(size, device=frames.device)
    zeros = frames.new_zeros([*frames.shape[:-2], (count - 1) * hop + size])
    return zeros.index_add(-1, positions.flatten(), frames.flatten(-2))


def _sizes(x: Tensor, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None) -> tuple[int, int]:
    """The hop and the length of the window."""
    hop, length = hop_length or n_fft // 4, win_length or n_fft
    if not (1 <= length <= n_fft and hop >= 1) or (window is not None and list(window.shape) != [length]):
        shape = None if window is None else list(map(str, window.shape))
        raise EngineError(
            "program_refused",
            f"a short-time Fourier transform has n_fft {n_fft}, hop_length {hop}, win_length {length} and a window of the shape "
            f"{shape}; expected a hop of 1 or more, and a window of win_length numbers, at most n_fft",
        )
    return hop, length


def _window(x: Tensor, n_fft: int, length: int, window: Tensor | None) -> Tensor:
    """The window in the middle of n_fft numbers."""
    weights = torch.ones(length, dtype=x.dtype.to_real(), device=x.device) if window is None else window
    left = (n_fft - length) // 2
    return functional.pad(weights, [left, n_fft - length - left]) if length < n_fft else weights
