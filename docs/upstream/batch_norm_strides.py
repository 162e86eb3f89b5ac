"""The gradient of `batch_norm` on a CPU is wrong for an axis of size 1 with unusual strides.

Prints the largest error of the gradient for two images that hold the same numbers. The error is
relative to the largest gradient and should be 0.
"""

import torch
from torch.nn.functional import batch_norm

torch.manual_seed(0)
channels = 8
weight, bias = torch.rand(channels) + 0.5, torch.randn(channels)
mean, variance = torch.randn(channels), torch.rand(channels) + 0.5
gradient = torch.randn(1, channels, 4, 4)
expected = gradient * (weight / (variance + 1e-5).sqrt())[None, :, None, None]

image = torch.randn(1, channels, 4, 4).contiguous(memory_format=torch.channels_last)
for strides in (image.stride(), (channels, *image.stride()[1:])):
    x = image.as_strided(image.shape, strides).detach().requires_grad_()
    (actual,) = torch.autograd.grad(batch_norm(x, mean, variance, weight, bias), x, gradient)
    error = (actual - expected).abs().max() / expected.abs().max()
    print(f"torch {torch.__version__}, strides {tuple(strides)}: error {error.item():.3f}")
