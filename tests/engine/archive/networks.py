"""Small networks of the ordinary kinds, each with example inputs of two rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Batch norm, dropout, a branch, and one in-place ReLU that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.first(x)))
        y = self.act(self.second(h) + h)
        return self.head(self.drop(functional.adaptive_avg_pool2d(y, 1).flatten(1)))


class Mobile(nn.Module):
    """Depthwise convolution, hard swish and a squeeze-and-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Hardswish(inplace=True))
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        h = self.depth(self.stem(x))
        return (h * self.gate(h)).mean((2, 3))


class Upsampling(nn.Module):
    """A U-Net of one level."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.out = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.silu(self.down(x))
        b = self.pool(a)
        wide = functional.interpolate(b, size=(8, 8), mode="bilinear")
        return self.out(torch.cat([a, self.up(b), wide], 1))


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Conv2d(3, 3, 7, padding=3, groups=3)
        self.norm = nn.LayerNorm(3)
        self.mlp = nn.Sequential(nn.Linear(3, 12), nn.GELU(), nn.Linear(12, 3))
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * self.mlp(self.norm(self.depth(x).permute(0, 2, 3, 1)))
        return (x + y.permute(0, 3, 1, 2)).mean((-2, -1))


class Causal(nn.Module):
    """Tied embeddings, a causal mask with -inf, fused attention, and a dict of outputs."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)).bool(), persistent=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor | list[Tensor]]:
        rows, length = tokens.shape
        h = self.embed(tokens)
        q, k, v = (part.view(rows, length, 2, 4).transpose(1, 2) for part in self.qkv(h).chunk(3, -1))
        scores = (q @ k.transpose(-1, -2)).masked_fill(~self.mask[:length, :length], float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, 8)
        z = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(rows, length, 8)
        return {"logits": self.out(functional.gelu(y, approximate="tanh") + z), "hidden": [h, y]}


class Encoder(nn.Module):
    """Two inputs: tokens and their mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return torch.tanh(self.head(self.encoder(self.embed(tokens), src_key_padding_mask=mask == 0)[:, 0]))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.recurrent = kind(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class GatedMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 8)
        self.value = nn.Linear(4, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.silu(self.gate(x)) * self.value(x)
        return self.out(h), h


class Convolution(nn.Module):
    """The smallest network here with a constant, a buffer and a symbolic size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(8, 2)
        self.shift = torch.ones(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.norm(self.conv(x))).flatten(1)) + self.shift


def networks() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Every network in evaluation mode with its example inputs, from one seed."""
    torch.manual_seed(0)
    image, rows, tokens = torch.randn(2, 3, 8, 8), torch.randn(2, 4), torch.randint(1, 20, (2, 6))
    series = torch.randn(2, 5, 4)
    cases: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "mlp": (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (rows,)),
        "convolution": (Convolution(), (torch.randn(2, 1, 4, 4),)),
        "residual": (Residual(), (image,)),
        "mobile": (Mobile(), (image,)),
        "upsampling": (Upsampling(), (image,)),
        "convnext": (ConvNext(), (image,)),
        "causal": (Causal(), (tokens,)),
        "encoder": (Encoder(), (tokens, torch.ones(2, 6))),
        "attention": (nn.MultiheadAttention(4, 2, batch_first=True), (series, series.clone(), series.clone())),
        "lstm": (Recurrent(nn.LSTM), (series,)),
        "gru": (Recurrent(nn.GRU), (series,)),
        "gated": (GatedMlp(), (rows,)),
    }
    return {name: (network.eval(), inputs) for name, (network, inputs) in cases.items()}
