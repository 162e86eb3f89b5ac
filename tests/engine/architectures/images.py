"""More image networks: well-known blocks, small."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def pooled(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean((2, 3))


class Vgg(nn.Module):
    """VGG (Simonyan & Zisserman 2014): convolutions, max pools and a perceptron with dropout."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        blocks += [nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(nn.Linear(32, 10), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(10, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.expand(functional.silu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


class MbConv(nn.Module):
    """An inverted bottleneck with squeeze-and-excite and SiLU."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.expand, self.bn1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.bn2, self.act, self.se = nn.BatchNorm2d(wide, eps=1e-3), nn.SiLU(), SqueezeExcite(wide)
        self.project, self.bn3 = nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.bn1(self.expand(x)))
        return x + self.bn3(self.project(self.se(self.act(self.bn2(self.depthwise(h))))))


class EfficientNet(nn.Module):
    """EfficientNet (Tan & Le 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.act = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.SiLU(inplace=True)
        self.blocks, self.head = nn.Sequential(MbConv(4, 8), MbConv(4, 8)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.blocks(self.act(self.bn(self.stem(x))))))


class StandardisedConv2d(nn.Conv2d):
    """A convolution with standardised weights, as timm writes it: a batch norm of the weights."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(flat, None, None, training=True, momentum=0.0, eps=1e-6)
        return functional.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class NfNet(nn.Module):
    """NFNet (Brock et al. 2021): standardised weights, scaled activations, no batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1 = StandardisedConv2d(3, 4, 3, padding=1), StandardisedConv2d(4, 4, 3, padding=1)
        self.conv2, self.gain = StandardisedConv2d(4, 4, 3, padding=1), nn.Parameter(torch.ones(1))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.conv1(functional.gelu(x) * 1.7)
        x = x + 0.2 * self.gain * self.conv2(functional.gelu(h) * 1.7)
        return self.head(pooled(x))


class Inception(nn.Module):
    """A block of GoogLeNet (Szegedy et al. 2014): branches that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.three = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1))
        self.five = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 5, padding=2))
        self.pool, self.project = nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        branches = [self.one(x), self.three(x), self.five(x), self.project(self.pool(x))]
        return self.head(pooled(functional.relu(torch.cat(branches, 1))))


class SqueezeNet(nn.Module):
    """SqueezeNet (Iandola et al. 2016): a fire module, and a convolution as classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 3, 1)
        self.expand1, self.expand3 = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.pool, self.classifier = nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(functional.relu(self.stem(x))))
        x = self.pool(functional.relu(torch.cat([self.expand1(x), self.expand3(x)], 1)))
        return torch.flatten(functional.adaptive_avg_pool2d(self.classifier(x), 1), 1)


class ShuffleNet(nn.Module):
    """A block of ShuffleNetV2 (Ma et al. 2018): half of the channels pass; all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.branch = nn.Sequential(
            nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.stem(x)))
        passed, rest = x.chunk(2, dim=1)
        x = torch.cat([passed, self.branch(rest)], 1)
        rows, channels, height, width = x.shape
        x = x.view(rows, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return self.head(pooled(x.view(rows, channels, height, width)))


class GhostNet(nn.Module):
    """GhostNet (Han et al. 2019): cheap depthwise convolutions make half of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.primary, self.bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.cheap, self.head = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.bn(self.primary(x)))
        return self.head(pooled(torch.cat([first, functional.relu(self.cheap(first))], 1)[:, :7]))


class RepVgg(nn.Module):
    """A block of RepVGG (Ding et al. 2021): three parallel branches that are added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dense = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.pointwise, self.identity = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.bn1, self.bn2, self.head = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(self.bn1(self.dense(x)) + self.bn2(self.pointwise(x)) + self.identity(x))
        return self.head(pooled(x))


class Attentive(nn.Module):
    """A residual block with CBAM's attention (Woo et al. 2018) over channels and over space."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mlp = nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4))
        self.space, self.norm, self.head = nn.Conv2d(2, 1, 3, padding=1), nn.GroupNorm(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.mish(self.norm(self.stem(x)))
        channels = torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))
        h = x * channels[:, :, None, None]
        space = torch.cat([h.mean(1, keepdim=True), h.max(1, keepdim=True)[0]], 1)
        return self.head(pooled(x + h * torch.sigmoid(self.space(space))))
