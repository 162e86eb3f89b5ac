"""All architectures by name, with examples of their inputs."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.export import ExportedProgram

from tests.engine.architectures import convolutional, sequences, transforms
from unitrank_engine.models import exporting

COUNT = 3


@dataclass(frozen=True)
class Architecture:
    """A module in evaluation mode, and a few examples of its inputs by argument name."""

    module: nn.Module
    inputs: dict[str, Tensor]

    def run(self) -> Tensor:
        """The first tensor that the eager module returns."""
        with torch.no_grad():
            return first_tensor(self.module(**self.inputs))


def first_tensor(output: Any) -> Tensor:
    """The first tensor of a module's output: a tensor, a tuple, or a data class of Transformers."""
    first = output if isinstance(output, Tensor) else output[0]
    assert isinstance(first, Tensor)
    return first


def _images(channels: int, size: int = 8) -> dict[str, Tensor]:
    return {"x": torch.randn(COUNT, channels, size, size)}


def _rows(*shape: int) -> dict[str, Tensor]:
    return {"x": torch.randn(COUNT, *shape)}


def _tokens() -> dict[str, Tensor]:
    """Sequences of token ids. The second one is shorter, and padded on the right."""
    mask = torch.ones(COUNT, 6, dtype=torch.int64)
    mask[1, 4:] = 0
    return {"input_ids": torch.randint(1, 20, (COUNT, 6)) * mask, "attention_mask": mask}


MAKERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]] = {
    "mlp": (sequences.Perceptron, lambda: _rows(6)),
    "lenet": (convolutional.LeNet, lambda: _images(1)),
    "resnet": (convolutional.ResNet, lambda: _images(3)),
    "densenet": (convolutional.DenseNet, lambda: _images(3)),
    "mobilenet": (convolutional.MobileNet, lambda: _images(3)),
    "convnext": (convolutional.ConvNeXt, lambda: _images(3)),
    "unet": (convolutional.UNet, lambda: _images(1)),
    "vit": (sequences.VisionTransformer, lambda: _images(3)),
    "lstm": (sequences.Recurrent, lambda: _rows(4, 3)),
    "gru": (sequences.Gru, lambda: _rows(4, 3)),
    "gated": (sequences.Gated, lambda: _rows(6)),
    "bert": (sequences.bert, _tokens),
    "gpt2": (sequences.gpt2, _tokens),
    "next_token": (sequences.NextToken, _tokens),
    "fourier_operator": (transforms.FourierOperator, lambda: _rows(12)),
    "fnet": (transforms.FNet, lambda: _rows(5, 6)),
    "rotary": (transforms.Rotary, lambda: _rows(5, 8)),
    "state_space": (transforms.StateSpace, lambda: _rows(8, 2)),
    "spectrogram": (transforms.Spectrogram, lambda: _rows(24)),
    "complex": (transforms.ComplexPerceptron, lambda: _rows(6)),
    "parametrised": (transforms.Parametrised, lambda: _images(3)),
}


@cache
def architecture(name: str) -> Architecture:
    """The architecture with random weights and random statistics of its batch norms."""
    return build(*MAKERS[name])


def build(make: Callable[[], nn.Module], inputs: Callable[[], dict[str, Tensor]], noise: float = 0.0) -> Architecture:
    """An architecture with random weights and random statistics of its batch norms.

    `noise`: the standard deviation of a random number that is added to each parameter, so that no
    parameter is left at 0 or 1.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        module = make().eval()
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
        if noise:
            for parameter in module.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        return Architecture(module, inputs())


def export(name: str) -> ExportedProgram:
    """The exported architecture, as its users would export it."""
    chosen = architecture(name)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        # torch warns about its own LSTM and GRU.
        warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights", UserWarning)
        return torch.export.export(chosen.module, (), chosen.inputs, dynamic_shapes={name: {0: batch} for name in chosen.inputs})


def archive(name: str, folder: Path) -> Path:
    """The path of the architecture's archive in this folder.

    The first process that calls it writes the archive, as `unitrank.export` does.
    """
    path = folder / f"{name}-{_digest()[:16]}.pt2"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            exporting.export(architecture(name).module, architecture(name).inputs, path)
    return path


@cache
def _digest() -> str:
    """A digest of the sources of the architectures and of torch's version."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources) + torch.__version__.encode()).hexdigest()
