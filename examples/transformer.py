"""Which neurons of a transformer's MLP matter for which kind of sentence, and do the answers hold?

A small BERT is made from a configuration and trained on sentences of ten made-up words, of which one says whether it is praise,
blame, a question or an order. Each kind is a cluster; the units are the neurons of one MLP, each at all words together.
Run `python examples/transformer.py` with `unitrank[transformers]`; it takes seconds, and no hub is asked.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import unitrank

KINDS = ("praise", "blame", "question", "order")
WORDS, LENGTH, START = 41, 10, 0
"""Word 0 begins a sentence; 1 to 5 are praise, 6 to 10 blame and so on; 21 to 40 say nothing."""
LAYER = "model.bert.encoder.layer.0.intermediate.intermediate_act_fn"


class Classifier(nn.Module):
    """A logit for each kind; no sentence is padded."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        config = BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, num_labels=len(KINDS), initializer_range=0.1, **sizes)
        self.model = BertForSequenceClassification(config)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.model(words, attention_mask=torch.ones_like(words)).logits
        return logits


def sentences(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Words, and the kind's number."""
    draw = np.random.default_rng(seed)
    words, kinds = draw.integers(21, WORDS, size=(count, LENGTH)), draw.integers(len(KINDS), size=count)
    words[:, 0] = START
    words[np.arange(count), draw.integers(1, LENGTH, size=count)] = 1 + 5 * kinds + draw.integers(5, size=count)
    return words, kinds


def train(seed: int = 0) -> Classifier:
    """A classifier that has seen 200 batches of sentences."""
    torch.manual_seed(seed)
    classifier = Classifier()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    for step in range(200):
        words, kinds = (torch.from_numpy(values) for values in sentences(64, seed=1000 + step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(words), kinds).backward()
        optimizer.step()
    return classifier.eval()


def rank(classifier: Classifier) -> unitrank.JobResult:
    """The 64 neurons, for each kind of sentence: by how much does the right kind lead the next one because of them?"""
    words, kinds = sentences(240, seed=1)
    return unitrank.rank(
        classifier,
        LAYER,
        words,
        fields={"kind": np.array(KINDS)[kinds]},
        clusters={"by": "field", "field": "kind"},
        units="channel",
        target={"class": "predicted", "score": "margin"},
        methods=["activation", "gradient", "gradient_x_delta", "integrated_gradients", "exact_ablation"],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # more than idle cores make so small a network slower
    found = rank(train())
    print(found)
    for cluster in found.clusters:
        neurons = ", ".join(f"{unit.unit} ({unit.importance:+.2f})" for unit in found.top(5)[cluster.name])
        print(f"{cluster.name:<8} {cluster.examples} sentences; neurons that matter most: {neurons}")
