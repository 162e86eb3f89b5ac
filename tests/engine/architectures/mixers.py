"""Networks that mix patches or tokens without convolutions or without attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCHES, WIDTH = 4, 8


class Patches(nn.Module):
    """An image of 8 × 8 as four patches of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class MixerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.tokens = nn.Sequential(nn.Linear(PATCHES, 6), nn.GELU(), nn.Linear(6, PATCHES))
        self.channels = nn.Sequential(nn.Linear(WIDTH, 12), nn.GELU(), nn.Linear(12, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class MlpMixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.blocks = Patches(), nn.Sequential(MixerBlock(), MixerBlock())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.patches(x))).mean(1))


class SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.proj = nn.LayerNorm(6), nn.Linear(PATCHES, PATCHES)

    def forward(self, x: Tensor) -> Tensor:
        u, v = x.chunk(2, dim=-1)
        return u * self.proj(self.norm(v).transpose(-1, -2)).transpose(-1, -2)


class GatedMlp(nn.Module):
    """gMLP (Liu et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.inside = Patches(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 12)
        self.gate, self.outside, self.head = SpatialGate(), nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + self.outside(self.gate(functional.gelu(self.inside(self.norm(x)))))
        return self.head(x.mean(1))


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.ones(1, 1, WIDTH)), nn.Parameter(torch.zeros(1, 1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class ResMlp(nn.Module):
    """ResMLP (Touvron et al. 2021): affine norms and layer scales."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm1, self.norm2 = Patches(), Affine(), Affine()
        self.tokens = nn.Linear(PATCHES, PATCHES)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 12), nn.GELU(), nn.Linear(12, WIDTH))
        self.scale, self.head = nn.Parameter(torch.full((WIDTH,), 0.1)), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x + self.scale * self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.scale * self.mlp(self.norm2(x))
        return self.head(x.mean(1))


class PoolFormer(nn.Module):
    """PoolFormer (Yu et al. 2022): average pooling mixes the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1, self.norm2 = nn.Conv2d(3, WIDTH, 3, 2, 1), nn.GroupNorm(1, WIDTH), nn.GroupNorm(1, WIDTH)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.mlp = nn.Sequential(nn.Conv2d(WIDTH, 12, 1), nn.GELU(), nn.Conv2d(12, WIDTH, 1))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.norm1(x)
        x = x + self.pool(h) - h
        return self.head((x + self.mlp(self.norm2(x))).mean([-2, -1]))


class FourierMixer(nn.Module):
    """A global filter network (Rao et al. 2021): a learned filter of the image's frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 2, 2), nn.LayerNorm(4)
        self.filter = nn.Parameter(torch.randn(4, 3, 4, 2) * 0.3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x).permute(0, 2, 3, 1))
        frequencies = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.filter)
        h = torch.fft.irfft2(frequencies, s=(4, 4), dim=(1, 2), norm="ortho")
        return self.head(functional.gelu(x + h).mean((1, 2)))
