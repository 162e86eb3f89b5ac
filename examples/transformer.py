"""Which neurons of a transformer's MLP matter for which kind of sentence?

A small BERT is created from a configuration, and trained on sentences of ten artificial words. One
word of each sentence makes it praise, blame, a question or an order. Each kind is a cluster. The
units are the neurons of one MLP; a neuron is one unit for all words together.

Install `unitrank[transformers]` and run `python examples/transformer.py`. The script takes 12
seconds and contacts no hub.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import unitrank

KINDS = ("praise", "blame", "question", "order")
WORDS, LENGTH, START = 41, 10, 0
"""Word 0 begins a sentence. Words 1 to 5 mean praise, 6 to 10 blame, 11 to 15 a question, 16 to 20
an order. Words 21 to 40 have no meaning."""
LAYER = "model.bert.encoder.layer.0.intermediate.intermediate_act_fn"


class Classifier(nn.Module):
    """A network with one logit for each kind. Sentences are not padded."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        config = BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, num_labels=len(KINDS), initializer_range=0.1, **sizes)
        self.model = BertForSequenceClassification(config)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.model(words, attention_mask=torch.ones_like(words)).logits
        return logits


def sentences(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random sentences: words [count, 10], and the number of the kind [count]."""
    random = np.random.default_rng(seed)
    words, kinds = random.integers(21, WORDS, size=(count, LENGTH)), random.integers(len(KINDS), size=count)
    words[:, 0] = START
    words[np.arange(count), random.integers(1, LENGTH, size=count)] = 1 + 5 * kinds + random.integers(5, size=count)
    return words, kinds


def train(seed: int = 0) -> Classifier:
    """A classifier, trained on 200 batches of sentences."""
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
    """Ranks the 64 neurons for each kind of sentence.

    The target is the margin: the logit of the predicted kind minus the best other logit.
    """
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
    torch.set_num_threads(1)  # A network of this size runs slower with more threads than idle cores.
    result = rank(train())
    print(result)
    for cluster in result.clusters:
        neurons = ", ".join(f"{unit.unit} ({unit.importance:+.2f})" for unit in result.top(5)[cluster.name])
        print(f"{cluster.name:<8} {cluster.examples} sentences; most important neurons: {neurons}")
