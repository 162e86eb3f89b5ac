"""Classes of Transformers with small configurations and random weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COUNT = 3
VOCABULARY = 20
LENGTH = 6
PAD, END = 0, 2
IDS = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": END}
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "num_labels": 3,
}


def model(name: str, config: str, **sizes: Any) -> Callable[[], nn.Module]:
    """A function that makes a model of this class with a new configuration of these sizes."""

    def make() -> nn.Module:
        import transformers

        module: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**sizes))
        return module

    return make


def sentences(*, mask: bool = True) -> dict[str, Tensor]:
    """Token ids that end with `END`. The second sentence is shorter, and padded on the right."""
    ids = torch.randint(4, VOCABULARY, (COUNT, LENGTH))
    ids[:, -1] = END
    present = torch.ones(COUNT, LENGTH, dtype=torch.int64)
    if mask:
        ids[1, -3:] = torch.tensor([END, PAD, PAD])
        present[1, -2:] = 0
    return {"input_ids": ids, "attention_mask": present} if mask else {"input_ids": ids}


def numbers(name: str, *shape: int) -> Callable[[], dict[str, Tensor]]:
    """A function that draws `COUNT` examples of this shape."""
    return lambda: {name: torch.randn(COUNT, *shape)}


class Named(nn.Module):
    """A model of Transformers with one of its outputs; `position`: of the tokens, only this one."""

    def __init__(self, make: Callable[[], nn.Module], output: str, position: int | None = None) -> None:
        super().__init__()
        self.model, self.output, self.position = make(), output, position

    def forward(self, **inputs: Tensor) -> Tensor:
        value: Tensor = getattr(self.model(**inputs), self.output)
        return value if self.position is None else value[:, self.position]
