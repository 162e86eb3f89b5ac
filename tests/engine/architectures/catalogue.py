"""The architectures of the parity table: the zoo's, more of the project, and Transformers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tests.engine.architectures import convolutional, images, mixers, signals, tables
from tests.engine.architectures.library import sentences, sound, text, vision
from tests.engine.architectures.zoo import COUNT, MAKERS, Architecture, build

NOISE = 0.1
"""Added to each parameter, because many modules begin with zeros and ones."""
Maker = tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]


@dataclass(frozen=True)
class Entry:
    """An architecture of the table.

    `source`: `transformers` for a class of that library, `project` for a small version of a
        well-known network.
    `refused`: the code of a refusal, and why no answer about the architecture could be right; None
        for an architecture that should be exported.
    """

    family: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    source: Literal["transformers", "project"] = "project"
    noise: float = NOISE
    refused: tuple[str, str] | None = None
    target: dict[str, Any] = field(default_factory=lambda: {"class": "predicted", "score": "margin"})

    reduce: Callable[[Tensor], Tensor] = lambda output: output
    """The same as the target's `reduce`."""

    def build(self) -> Architecture:
        return build(self.make, self.inputs, self.noise)


def _rows(*shape: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {"x": torch.randn(COUNT, *shape)}


def _ids() -> dict[str, Tensor]:
    return {"ids": torch.randint(1, 20, (COUNT, 7))}


def _numbers_and_ids() -> dict[str, Tensor]:
    return {"numbers": torch.randn(COUNT, 4), "ids": torch.randint(0, 8, (COUNT, 2))}


def _features() -> dict[str, Tensor]:
    return {"x": torch.randn(COUNT, 5), "category": torch.randint(0, 4, (COUNT, 2))}


def _graphs() -> dict[str, Tensor]:
    edges = torch.randint(0, 2, (COUNT, 5, 5))
    return {"x": torch.randn(COUNT, 5, 3), "adjacency": edges | edges.transpose(1, 2)}


def _pairs() -> dict[str, Tensor]:
    return {"left": torch.randn(COUNT, 6), "right": torch.randn(COUNT, 6)}


image = _rows(3, 8, 8)
IMAGES: dict[str, Maker] = {
    "vgg": (images.Vgg, image),
    "efficientnet": (images.EfficientNet, image),
    "nfnet": (images.NfNet, image),
    "inception": (images.Inception, image),
    "squeezenet": (images.SqueezeNet, image),
    "shufflenet": (images.ShuffleNet, image),
    "ghostnet": (images.GhostNet, image),
    "repvgg": (images.RepVgg, image),
    "cbam": (images.Attentive, image),
    "mlp_mixer": (mixers.MlpMixer, image),
    "gmlp": (mixers.GatedMlp, image),
    "resmlp": (mixers.ResMlp, image),
    "poolformer": (mixers.PoolFormer, image),
    "global_filter": (mixers.FourierMixer, image),
}
SIGNALS: dict[str, Maker] = {
    "tcn": (signals.Tcn, _rows(2, 12)),
    "wavenet": (signals.WaveNet, _rows(1, 16)),
    "ecapa": (signals.Ecapa, _rows(4, 12)),
    "genomics": (signals.Genomics, _rows(4, 24)),
    "textcnn": (signals.TextCnn, _ids),
    "fasttext": (signals.FastText, _ids),
    "attentive_lstm": (signals.AttentiveLstm, _ids),
    "gru_head": (signals.GruHead, _rows(2, 10)),
    "nbeats": (signals.NBeats, _rows(12)),
    "dlinear": (signals.DilatedLinear, _rows(2, 12)),
}
TABLES: dict[str, Maker] = {
    "highway": (tables.Highway, _rows(6)),
    "parametrised": (tables.Normed, _rows(6)),
    "tabnet": (tables.TabNet, _rows(6)),
    "ft_transformer": (tables.FtTransformer, _features),
    "wide_and_deep": (tables.WideAndDeep, _numbers_and_ids),
    "factorization_machine": (tables.FactorizationMachine, lambda: {"ids": torch.randint(0, 12, (COUNT, 4))}),
    "kan": (lambda: nn.Sequential(tables.Kan(4, 5), tables.Kan(5, 3)), lambda: {"input": torch.randn(COUNT, 4)}),
    "deep_sets": (tables.DeepSets, _rows(5, 3)),
    "gcn": (tables.GraphConvolution, _graphs),
    "two_towers": (tables.TwoTowers, _pairs),
    "nerf": (tables.Nerf, _rows(3)),
    "siren": (tables.Siren, _rows(3)),
    "experts": (tables.Experts, _rows(6)),
    "neural_ode": (tables.NeuralOde, _rows(4)),
}
ZOO = {
    "tables": ("mlp", "gated"),
    "images": ("lenet", "resnet", "densenet", "mobilenet", "convnext", "unet", "vit"),
    "sequences": ("lstm", "gru"),
}
ZOO_TEXT = ("bert", "gpt2", "next_token")
ENDS = ("not_exportable", "the sizes of its tensors depend on the number of end tokens in the batch")
REFUSED = {
    "bart_classes": ENDS,
    "t5_classes": ENDS,
    "longformer": ("not_exportable", "its code branches on which tokens have global attention"),
    "clip": ("rows_depend", "each image is compared with each sentence of the batch"),
}
PROJECT = {"images": IMAGES, "sequences": SIGNALS, "tables": TABLES}
LIBRARY = {
    "text encoders": text.ENCODERS,
    "decoders": text.DECODERS,
    "encoders with a decoder": text.ENCODER_DECODERS,
    "images": vision.IMAGES,
    "sound": sound.SOUND,
    "sequences": sound.TIME,
    "two towers": sound.TOWERS,
}
REDUCED = {
    "unet_pixels": Entry(
        "images",
        convolutional.PixelUNet,
        _rows(1, 8, 8),
        target={"class": "predicted", "score": "margin", "reduce": "mean"},
        reduce=lambda output: output.mean((2, 3)),
    ),
    "bert_tokens": Entry(
        "text encoders",
        text.TOKENS,
        sentences,
        "transformers",
        target={"class": "predicted", "score": "margin", "reduce": {"at": [1]}},
        reduce=lambda output: output[:, 1],
    ),
}
"""Networks with an output for each pixel or token, which the target reduces."""
CATALOGUE: dict[str, Entry] = {
    **{name: Entry(family, *MAKERS[name], noise=0.0) for family, names in ZOO.items() for name in names},
    **{name: Entry("decoders", *MAKERS[name], source="transformers", noise=0.0) for name in ZOO_TEXT},
    **{name: Entry(family, *maker) for family, makers in PROJECT.items() for name, maker in makers.items()},
    **{
        name: Entry(family, *maker, source="transformers", refused=REFUSED.get(name))
        for family, makers in LIBRARY.items()
        for name, maker in makers.items()
    },
    **REDUCED,
}
