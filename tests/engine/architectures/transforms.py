"""Small networks with Fourier transforms, complex numbers, and computed grids and weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class FourierOperator(nn.Module):
    """A Fourier neural operator (Li et al. 2021), with complex weights of low frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.skip, self.head = nn.Linear(1, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.weight = nn.Parameter(torch.randn(3, 3, 4, dtype=torch.cfloat) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x[:, :, None])
        spectrum = torch.fft.rfft(h.mT, norm="ortho")
        kept = torch.zeros_like(spectrum)
        kept[:, :, :4] = torch.einsum("bik,iok->bok", spectrum[:, :, :4], self.weight)
        h = functional.gelu(torch.fft.irfft(kept, n=x.shape[1], norm="ortho").mT + self.skip(h))
        return self.head(h.mean(1))


class FNet(nn.Module):
    """FNet (Lee-Thorp et al. 2022): a Fourier transform in the place of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.feed, self.head = (
            nn.LayerNorm(6),
            nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)),
            nn.Linear(6, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)
        return self.head((x + self.feed(x)).mean(1))


class Rotary(nn.Module):
    """Attention with rotary embeddings by complex numbers, as in the first code of Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.head = (nn.Linear(8, 8) for _ in range(4))
        angles = torch.outer(torch.arange(5.0), 100.0 ** -torch.linspace(0, 1, 4))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))

    def turned(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2)) * self.turns).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        attention = functional.softmax(self.turned(self.q(x)) @ self.turned(self.k(x)).mT / 8**0.5, -1)
        return self.head((attention @ self.v(x)).mean(1))


class StateSpace(nn.Module):
    """S4D (Gu et al. 2022): a long convolution whose kernel is a sum of complex exponentials."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.weight = nn.Parameter(torch.randn(3, 4, 2)), nn.Parameter(torch.randn(3, 4, 2))
        self.encode, self.head = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, length = self.encode(x).mT, x.shape[1]
        rate = torch.complex(-self.rate[..., 0].exp(), self.rate[..., 1])
        powers = torch.exp(rate[..., None] * torch.arange(length) / length)
        kernel = 2 * torch.einsum("cn,cnl->cl", torch.view_as_complex(self.weight), powers).real
        spectrum = torch.fft.rfft(h, n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
        return self.head(functional.gelu(torch.fft.irfft(spectrum, n=2 * length)[..., :length]).mean(-1))


class Spectrogram(nn.Module):
    """A classifier of sounds: a spectrogram and a convolution, beside the filtered signal."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.conv, self.head = nn.Linear(24, 24), nn.Conv1d(5, 4, 3, padding=1), nn.Linear(4 + 24, 3)
        self.register_buffer("window", torch.hann_window(8))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.dense(x))
        spectrum = torch.stft(x, 8, 4, window=self.window, return_complex=True)
        h = functional.relu(self.conv((spectrum.abs().square() + 0.1).log()))
        signal = torch.istft(spectrum * torch.linspace(1, 0, 5)[:, None], 8, 4, window=self.window, length=24)
        return self.head(torch.cat([h.mean(-1), signal], 1))


class ComplexPerceptron(nn.Module):
    """Complex layers with a modReLU, which keeps the phase (Arjovsky et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary, self.head = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(8, 3)
        self.weight = nn.Parameter(torch.randn(5, 4, dtype=torch.cfloat) / 2)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(self.real(x), self.imaginary(x))
        z = z * (functional.relu(z.abs() - 0.1) / (z.abs() + 0.01))
        z = (z * z.conj().roll(1, 1)) @ self.weight / (1 + z.abs().mean(1, keepdim=True))
        return self.head(torch.cat([z.real, z.imag], 1))


class SpatialTransformer(nn.Module):
    """A spatial transformer (Jaderberg et al. 2015): a small network turns and moves the image."""

    def __init__(self) -> None:
        super().__init__()
        self.where, self.conv, self.head = nn.Linear(64, 6), nn.Conv2d(1, 3, 3), nn.Linear(3, 2)
        nn.init.normal_(self.where.weight, std=0.05)
        self.where.bias.data = torch.tensor([1.0, 0.1, 0.05, -0.1, 0.9, 0.02])

    def forward(self, x: Tensor) -> Tensor:
        grid = functional.affine_grid(self.where(x.flatten(1)).view(-1, 2, 3), list(x.shape), align_corners=False)
        x = functional.grid_sample(x, grid, align_corners=False)
        return self.head(functional.relu(self.conv(x)).mean((2, 3)))


class StandardisedConv(nn.Conv2d):
    """A convolution whose weights are standardised by a batch norm, as in BiT and NFNet."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(rows, None, None, training=True, momentum=0.0, eps=1e-6).reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias)


class Parametrised(nn.Module):
    """Layers whose weights are computed from other parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = StandardisedConv(3, 4, 3)
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 6))
        self.householder = parametrizations.orthogonal(nn.Linear(6, 4), orthogonal_map="householder")
        self.exponential = parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="matrix_exp")
        self.cayley = parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley")
        self.head = parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.conv(x)).mean((2, 3))
        h = torch.tanh(self.householder(torch.tanh(self.spectral(h))))
        return self.head(torch.tanh(self.cayley(torch.tanh(self.exponential(h)))))
