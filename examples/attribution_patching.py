"""Which attention heads carry an answer? Attribution patching beside plain activation patching.

A small GPT-2 is created from a configuration, and trained to repeat a name: each sentence has a
sign, a name behind it and other words, and the last word asks for the name. A corrupted sentence
has another name. A patch gives one head its values from the other sentence of the pair.

Install `unitrank[transformers]` and run `python examples/attribution_patching.py`. The script takes
25 seconds and contacts no hub.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import unitrank

NAMES, WORDS, SIGN, QUESTION, LENGTH = 8, 20, 20, 21, 10
"""Words 0 to 7 are names, 8 to 19 have no meaning."""
LAYERS, HEADS, WIDTH = 2, 4, 8
"""`WIDTH`: values of one head for each word."""


class LastWord(nn.Module):
    """The logits of the names after the last word."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": HEADS * WIDTH, "n_positions": LENGTH, "vocab_size": QUESTION + 1}
        unused = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
        self.gpt2 = GPT2LMHeadModel(GPT2Config(**sizes, **unused, use_cache=False))

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.gpt2(words).logits
        return logits[:, -1, :NAMES]


def pairs(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sentences [count, 10], the same with another name, the names [count], and the other names."""
    random = np.random.default_rng(seed)
    words = random.integers(NAMES, WORDS, size=(count, LENGTH))
    place, rows = random.integers(0, LENGTH - 2, size=count), np.arange(count)
    name = random.integers(NAMES, size=count)
    other = (name + random.integers(1, NAMES, size=count)) % NAMES
    words[:, -1], words[rows, place], words[rows, place + 1] = QUESTION, SIGN, name
    corrupted = words.copy()
    corrupted[rows, place + 1] = other
    return words, corrupted, name, other


def train(seed: int = 0) -> LastWord:
    """A model, trained on 250 batches of sentences."""
    torch.manual_seed(seed)
    model = LastWord()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(250):
        words, _, names, _ = map(torch.from_numpy, pairs(64, seed=1000 + step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(words), names).backward()
        optimizer.step()
    return model.eval()


def attributed(model: LastWord, layer: int, count: int = 200) -> dict[str, NDArray[np.float32]]:
    """Ranking → the mean score of each head of a layer.

    F is the logit of the name minus the logit of the other name. The place is the input of the
    projection after the heads, whose values are those of all heads side by side.
    """
    words, corrupted, names, others = pairs(count, seed=1)
    result = unitrank.rank(
        model,
        f"gpt2.transformer.h.{layer}.attn.c_proj",
        words,
        names,
        at="input",
        units={"axis": -1, "groups": HEADS},
        fields={"corrupted": corrupted, "other": others},
        baseline={"kind": "field", "field": "corrupted"},
        target={"class": "label", "against": {"field": "other"}},
        clusters={"by": "all"},
        methods=[{"name": "gradient_x_delta", "at_point": each, "id": each} for each in ("x", "baseline", "mean")],
        ablation=None,
        fidelity=None,
    )
    return {each: result.importances(each)["all"] for each in ("x", "baseline", "mean")}


def patched(model: LastWord, layer: int, head: int, count: int = 200) -> tuple[float, float]:
    """Plain activation patching of one head, by hooks on the eager model.

    The first number is the drop of F when the sentence's head gets the values of the corrupted
    sentence. The second one is the rise of F when the corrupted sentence's head gets the values of
    the sentence.
    """
    words, corrupted, names, others = map(torch.from_numpy, pairs(count, seed=1))
    projection = model.gpt2.transformer.h[layer].attn.c_proj
    rows, part = torch.arange(count), slice(head * WIDTH, (head + 1) * WIDTH)

    def difference(inputs: Tensor) -> float:
        logits = model(inputs)
        return float((logits[rows, names] - logits[rows, others]).mean())

    with torch.no_grad():
        clean, start = difference(words), difference(corrupted)
        with recorded(projection) as of_words:
            model(words)
        with recorded(projection) as of_corrupted:
            model(corrupted)
        with replaced(projection, part, of_corrupted[0]):
            drop = clean - difference(words)
        with replaced(projection, part, of_words[0]):
            rise = difference(corrupted) - start
    return drop, rise


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a list that gets the module's inputs."""
    inputs: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        yield inputs
    finally:
        handle.remove()


@contextmanager
def replaced(module: nn.Module, part: slice, values: Tensor) -> Iterator[None]:
    """Gives a part of the module's input other values."""

    def replace(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        changed = args[0].clone()
        changed[..., part] = values[..., part]
        return (changed, *args[1:])

    handle = module.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def main() -> None:
    model = train()
    words, _, names, _ = pairs(1000, seed=2)
    right = (model(torch.from_numpy(words)).argmax(1).numpy() == names).mean()
    print(f"{right:.1%} of 1000 new sentences get the right name")
    print("head  | clean → corrupted: patched | at x  | corrupted → clean: patched | at baseline | mean")
    for layer in range(LAYERS):
        scores = attributed(model, layer)
        for head in range(HEADS):
            drop, rise = patched(model, layer, head)
            x, baseline, mean = (float(scores[each][head]) for each in ("x", "baseline", "mean"))
            print(f"{layer}.{head}   | {drop:26.2f} | {x:5.2f} | {rise:26.2f} | {baseline:11.2f} | {mean:5.2f}")


if __name__ == "__main__":
    main()
