"""Networks for sound, DNA, text and time series."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class CausalBlock(nn.Module):
    """Dilated causal convolutions with weight norm; the padding on the right is cut off."""

    def __init__(self, inside: int, outside: int, dilation: int) -> None:
        super().__init__()
        self.conv = weight_norm(nn.Conv1d(inside, outside, 3, padding=2 * dilation, dilation=dilation))
        self.cut, self.relu, self.dropout = 2 * dilation, nn.ReLU(), nn.Dropout(0.1)
        self.downsample = nn.Conv1d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.relu(self.conv(x)[:, :, : -self.cut].contiguous()))
        return self.relu(h + self.downsample(x))


class Tcn(nn.Module):
    """A temporal convolutional network (Bai et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.head = nn.Sequential(CausalBlock(2, 4, 1), CausalBlock(4, 5, 2)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.network(x)[:, :, -1])


class WaveNet(nn.Module):
    """WaveNet (van den Oord et al. 2016): gated dilated convolutions, residual and skip."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Conv1d(1, 4, 1)
        self.filters = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=dilation) for dilation in (1, 2, 4))
        self.gates = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=dilation) for dilation in (1, 2, 4))
        self.skips, self.outside = nn.ModuleList(nn.Conv1d(4, 5, 1) for _ in range(3)), nn.Conv1d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.inside(x), 0
        for filter, gate, skip in zip(self.filters, self.gates, self.skips, strict=True):
            h = torch.tanh(filter(x)) * torch.sigmoid(gate(x))
            total = total + skip(h)[..., -1:]
            x = h + x[..., -h.shape[-1] :]
        return self.outside(functional.relu(total)).squeeze(-1)


class Res2(nn.Module):
    """Channels in groups; each group also gets the result of the group before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(channels // 2, channels // 2, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        first = functional.relu(self.convs[0](first))
        return torch.cat([first, functional.relu(self.convs[1](second + first))], 1)


class Ecapa(nn.Module):
    """ECAPA-TDNN (Desplanques et al. 2020): Res2 blocks, and pooling by attentive statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.res2 = nn.Conv1d(4, 8, 5, padding=2), nn.BatchNorm1d(8), Res2(8)
        self.attention = nn.Sequential(nn.Conv1d(24, 6, 1), nn.Tanh(), nn.Conv1d(6, 8, 1))
        self.norm, self.head = nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(functional.relu(self.stem(x)))
        x = x + self.res2(x)
        time = x.shape[-1]
        mean, deviation = x.mean(2, keepdim=True), x.var(2, keepdim=True).clamp(min=1e-4).sqrt()
        context = torch.cat([x, mean.expand(-1, -1, time), deviation.expand(-1, -1, time)], 1)
        weights = torch.softmax(self.attention(context), 2)
        mean = (weights * x).sum(2)
        deviation = (((x - mean.unsqueeze(2)) ** 2 * weights).sum(2)).clamp(min=1e-4).sqrt()
        return self.head(self.norm(torch.cat([mean, deviation], 1)))


class Genomics(nn.Module):
    """A network of DNA as DeepSEA (Zhou & Troyanskaya 2015): motifs, max pools, dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.motifs, self.pool = nn.Conv1d(4, 6, 5), nn.MaxPool1d(4)
        self.conv, self.dense, self.head = nn.Conv1d(6, 5, 3), nn.Linear(15, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.motifs(x)))
        return self.head(functional.relu(self.dense(functional.relu(self.conv(x)).flatten(1))))


class TextCnn(nn.Module):
    """A network of Kim (2014): convolutions over word vectors, maxima over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(6, 4, width) for width in (2, 3))
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids).transpose(1, 2)
        return self.head(torch.cat([functional.relu(conv(x)).max(2).values for conv in self.convs], 1))


class FastText(nn.Module):
    """fastText (Joulin et al. 2016): the mean of word vectors from an `EmbeddingBag`."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.hidden, self.head = nn.EmbeddingBag(20, 6, mode="mean"), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.hidden(self.bag(ids))))


class AttentiveLstm(nn.Module):
    """A bidirectional LSTM over word vectors, whose states attention sums up."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 6), nn.LSTM(6, 4, batch_first=True, bidirectional=True)
        self.attention, self.head = nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(ids))
        return self.head((states * self.attention(torch.tanh(states)).softmax(1)).sum(1))


class GruHead(nn.Module):
    """A convolution over time, then a GRU whose last hidden state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru = nn.Conv1d(2, 4, 3, padding=1), nn.GRU(4, 5, batch_first=True)
        self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(functional.elu(self.conv(x)).transpose(1, 2))
        return self.head(self.norm(last[-1]))


class NBeatsBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.backcast, self.forecast = nn.Linear(8, 12), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.layers(x)
        return x - self.backcast(h), self.forecast(h)


class NBeats(nn.Module):
    """N-BEATS (Oreshkin et al. 2019): each block explains what the blocks before it left over."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(NBeatsBlock() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x[:, :3])
        for block in self.blocks:
            x, forecast = block(x)
            total = total + forecast
        return total


class DilatedLinear(nn.Module):
    """DLinear (Zeng et al. 2022): a moving average, and a linear layer for trend and remainder."""

    def __init__(self) -> None:
        super().__init__()
        self.average, self.trend, self.rest = nn.AvgPool1d(5, 1), nn.Linear(12, 4), nn.Linear(12, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        trend = self.average(functional.pad(x, (2, 2), mode="replicate"))
        return self.head((torch.tanh(self.trend(trend)) + self.rest(x - trend)).flatten(1))
