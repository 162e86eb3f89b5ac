"""Networks for rows of numbers, sets, graphs, pairs and points in space."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm


class Highway(nn.Module):
    """Highway networks (Srivastava et al. 2015): a gate mixes each layer with its input."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2)), nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for gate, layer in zip(self.gates, self.layers, strict=True):
            open_share = torch.sigmoid(gate(x))
            x = open_share * functional.relu(layer(x)) + (1 - open_share) * x
        return self.head(x)


class Normed(nn.Module):
    """Dense layers whose weights have a spectral norm, a weight norm and an orthogonal matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = spectral_norm(nn.Linear(6, 8)), weight_norm(nn.Linear(8, 8))
        self.fc3, self.head = orthogonal(nn.Linear(8, 8)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.fc1(x), 0.2)
        return self.head(torch.tanh(self.fc3(functional.selu(self.fc2(x)))))


def sparsemax(z: Tensor) -> Tensor:
    """The projection of each row on the probability simplex (Martins & Astudillo 2016)."""
    ordered, _ = torch.sort(z, dim=-1, descending=True)
    sums = ordered.cumsum(-1)
    counts = torch.arange(1, z.shape[-1] + 1, device=z.device, dtype=z.dtype)
    support = (1 + counts * ordered > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return torch.clamp(z - threshold, min=0)


class TabNet(nn.Module):
    """TabNet (Arik & Pfister 2019): each step attends to some of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.masks = nn.BatchNorm1d(6), nn.ModuleList(nn.Linear(4, 6) for _ in range(2))
        self.steps, self.first = nn.ModuleList(nn.Linear(6, 16) for _ in range(2)), nn.Linear(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        attended, prior, total = self.first(x), torch.ones_like(x), 0
        for mask, step in zip(self.masks, self.steps, strict=True):
            weights = sparsemax(mask(attended) * prior)
            prior = prior * (1.3 - weights)
            decision, attended = functional.glu(step(weights * x)).split(4, 1)
            total = total + functional.relu(decision)
        return self.head(total)


class FtTransformer(nn.Module):
    """FT-Transformer (Gorishniy et al. 2021): a token for each feature. It calls `len`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(5, 8))
        self.token, self.categories = nn.Parameter(torch.randn(1, 1, 8)), nn.Embedding(4, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "relu", batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor, category: Tensor) -> Tensor:
        tokens = torch.cat([x.unsqueeze(-1) * self.weight + self.bias, self.categories(category)], 1)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        return self.head(functional.relu(self.norm(self.encoder(tokens)[:, 0])))


class WideAndDeep(nn.Module):
    """Wide & Deep (Cheng et al. 2016): a linear part of ids and numbers beside a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.embedding = nn.Linear(4, 3), nn.Embedding(8, 5)
        self.deep = nn.Sequential(nn.Linear(14, 8), nn.PReLU(), nn.Linear(8, 3))

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        vectors = self.embedding(ids).flatten(1)
        return self.wide(numbers) + self.deep(torch.cat([numbers, vectors], 1))


class FactorizationMachine(nn.Module):
    """DeepFM's pairs (Guo et al. 2017): half of the squared sum less the sum of squares."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(12, 5), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Tensor:
        vectors = self.embedding(ids)
        return self.head(0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)))


class Kan(nn.Module):
    """A layer of a Kolmogorov-Arnold network (Liu et al. 2024): cubic B-splines on each edge."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.base, self.splines = nn.Linear(inside, outside), nn.Parameter(torch.randn(outside, inside, 8) * 0.3)
        self.register_buffer("knots", torch.arange(-3.0, 9.0) * 0.5 - 1.5)

    def forward(self, x: Tensor) -> Tensor:
        points, knots = x.unsqueeze(-1), self.knots
        bases = ((points >= knots[:-1]) & (points < knots[1:])).to(x.dtype)
        for order in range(1, 4):
            left = (points - knots[: -(order + 1)]) / (knots[order:-1] - knots[: -(order + 1)])
            right = (knots[order + 1 :] - points) / (knots[order + 1 :] - knots[1:-order])
            bases = left * bases[..., :-1] + right * bases[..., 1:]
        return self.base(functional.silu(x)) + torch.einsum("nik,oik->no", bases, self.splines)


class DeepSets(nn.Module):
    """Deep Sets (Zaheer et al. 2017): the sum over the elements of a set."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 6))
        self.rho = nn.Sequential(nn.Linear(6, 5), nn.ELU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(self.phi(x).sum(1))


class GraphConvolution(nn.Module):
    """A graph convolutional network (Kipf & Welling 2016) on a dense adjacency matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        linked = adjacency.to(x.dtype) + torch.eye(x.shape[1], dtype=x.dtype)
        degree = linked.sum(-1).rsqrt()
        linked = degree.unsqueeze(-1) * linked * degree.unsqueeze(-2)
        x = functional.relu(linked @ self.first(x))
        return self.head(functional.relu(linked @ self.second(x)).mean(1))


class TwoTowers(nn.Module):
    """A siamese network: the cosine of two embeddings, and their distance."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        a, b = self.tower(left), self.tower(right)
        cosine = functional.cosine_similarity(a, b, dim=1)
        return torch.stack([cosine, -functional.pairwise_distance(a, b)], 1)


class Nerf(nn.Module):
    """A network of points in space (Mildenhall et al. 2020): sines of coordinates, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(15, 8), nn.Linear(23, 8), nn.Linear(8, 4)
        self.register_buffer("frequencies", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        angles = (x.unsqueeze(-1) * self.frequencies).flatten(1)
        code = torch.cat([x, angles.sin(), angles.cos()], 1)
        h = torch.cat([functional.relu(self.first(code)), code], 1)
        return self.head(functional.softplus(self.second(h)))


class Siren(nn.Module):
    """SIREN (Sitzmann et al. 2020): sines instead of ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sin(3 * self.second(torch.sin(3 * self.first(x)))))


class Experts(nn.Module):
    """A mixture of experts (Shazeer et al. 2017) in which the two best experts of a row count."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 4), nn.ModuleList(nn.Linear(6, 5) for _ in range(4))
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        best, chosen = self.gate(x).topk(2, dim=1)
        weights = torch.zeros(x.shape[0], 4, dtype=x.dtype).scatter(1, chosen, best.softmax(1))
        outputs = torch.stack([functional.gelu(expert(x)) for expert in self.experts], 1)
        return self.head((weights.unsqueeze(-1) * outputs).sum(1))


class NeuralOde(nn.Module):
    """A neural differential equation (Chen et al. 2018) in eight steps of Runge and Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.head = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4):
            middle = self.slope(x + 0.125 * self.slope(x))
            x = x + 0.25 * middle
        return self.head(x)
