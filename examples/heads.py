"""Which attention heads of a small GPT-2 matter, and which positions does the network read?

A GPT-2 with two layers of four heads is created from a configuration. It is trained on rows of ten
words, in which a mark is followed by one of four words. The network answers, at the end of the row,
which word followed the mark. The input of `c_proj` has the heads one after another, so groups of
this axis are the heads.

Install `unitrank[transformers]` and run `python examples/heads.py`. The script takes 40 seconds and
contacts no hub.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

import unitrank

WORDS, LENGTH, MARK, ANSWERS, HEADS = 20, 10, 0, 4, 4
"""Word 0 is the mark, words 1 to 4 are the answers. All words but the mark occur everywhere."""


class Reader(nn.Module):
    """A network with one logit for each answer, at the end of the row."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": HEADS, "n_positions": LENGTH}
        unused = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
        self.body = GPT2Model(GPT2Config(vocab_size=WORDS, **sizes, **unused))
        self.end = nn.Linear(32, ANSWERS)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.end(self.body(words).last_hidden_state[:, -1])
        return logits


def rows(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random rows: words [count, 10], and the number of the answer [count]."""
    random = np.random.default_rng(seed)
    words, places = random.integers(1, WORDS, size=(count, LENGTH)), random.integers(LENGTH - 2, size=count)
    answers = random.integers(ANSWERS, size=count)
    words[np.arange(count), places], words[np.arange(count), places + 1] = MARK, 1 + answers
    return words, answers


def train(steps: int = 400) -> Reader:
    """A network, trained on batches of 128 rows."""
    torch.manual_seed(0)
    reader = Reader()
    optimizer = torch.optim.Adam(reader.parameters(), lr=3e-3)
    for step in range(steps):
        words, answers = (torch.from_numpy(values) for values in rows(128, seed=1000 + step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(reader(words), answers).backward()
        optimizer.step()
    return reader.eval()


def rank(reader: Reader, layer: str, units: str | dict[str, int], at: str) -> unitrank.JobResult:
    """Ranks the units of a layer. A unit is replaced by its value in another row."""
    words, answers = rows(200, seed=1)
    return unitrank.rank(
        reader,
        layer,
        words,
        answers,
        clusters={"by": "all"},
        at=at,
        units=units,
        target={"class": "label", "score": "margin"},
        methods=[{"name": "exact_ablation", "fill": "resample"}],
        ablation={"fill": "resample", "fractions": [0.25, 0.5, 0.75]},
    )


def show(result: unitrank.JobResult) -> None:
    """Prints the units in the order of their importance, with their names."""
    units = ", ".join(f"{result.name_of(unit)} ({unit.importance:+.2f})" for unit in result.top()["all"])
    print(f"{result.layer.name}: {units}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # A network of this size runs slower with more threads than idle cores.
    network = train()
    test_words, test_answers = rows(1000, seed=2)
    right = network(torch.from_numpy(test_words)).argmax(1).numpy() == test_answers
    print(f"{right.mean():.1%} of the test rows are answered correctly")
    show(rank(network, "body.h.0.attn.c_proj", {"axis": -1, "groups": HEADS}, at="input"))
    show(rank(network, "body.h.1.attn.c_proj", {"axis": -1, "groups": HEADS}, at="input"))
    show(rank(network, "body.h.0", "position", at="output"))
