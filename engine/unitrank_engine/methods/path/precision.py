"""The precision of passes along a path. Passes of DeepLIFT and of ablations are always float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import fx

from unitrank_engine.program.nodes import computes_complex_values

Precision = Literal["float32", "tf32", "bf16"]


@contextmanager
def computing(precision: Precision, device: torch.device, graph: fx.Graph) -> Iterator[None]:
    """Round matrix products and convolutions inside the context to this precision.

    `graph`: the graph of the model. With complex values in it, `bf16` is float32, because torch has
    no complex numbers of 16 bits.

    `tf32` changes CUDA only. torch's previous settings are restored at the end.
    """
    if precision == "bf16" and not computes_complex_values(graph):
        with torch.autocast(device.type, torch.bfloat16):
            yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if precision == "tf32":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
