"""The weights of a tail: which parameters they come from, and their permutation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TailWeight:
    """Weights that the tail reads, and the parameters of the model that they are made of.

    `read`: the tail's own copies of the weights.
    `parameters`: the model's tensors whose entries are permuted.
    `make`: the parameters → the values of `read`.
    """

    read: Sequence[Tensor]
    parameters: Sequence[Tensor]
    make: Callable[[list[Tensor]], list[Tensor]]

    @property
    def varies(self) -> bool:
        """Whether a permutation can change a parameter: not all of its entries are equal."""
        return any(bool((tensor != tensor.flatten()[:1]).any()) for tensor in self.parameters if tensor.numel())

    def permute(self, generator: np.random.Generator) -> None:
        """Set the weights to values that are made of permuted parameters."""
        for weight, value in zip(self.read, self.make([_permuted(tensor, generator) for tensor in self.parameters]), strict=True):
            # The same memory layout as the weight: torch chooses its kernels by the layout.
            weight.data = torch.empty_like(weight.data).copy_(value)


@contextmanager
def permuted(weights: Sequence[TailWeight], generator: np.random.Generator) -> Iterator[None]:
    """Permute the weights inside the context; afterwards they have their values again."""
    values = [(weight, weight.data) for each in weights for weight in each.read]
    try:
        for each in weights:
            each.permute(generator)
        yield
    finally:
        for weight, value in values:
            weight.data = value


def _permuted(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """A copy of the tensor with its entries in random order."""
    order = generator.permutation(np.arange(tensor.numel(), dtype=np.int64))
    return tensor.flatten()[torch.from_numpy(order).to(tensor.device)].reshape(tensor.shape)
