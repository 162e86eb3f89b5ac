"""Scores of Captum, zennit and pytorch-grad-cam, each with the method that gives the same scores.

`from_captum.py` compares them. Zennit and pytorch-grad-cam need not be installed: their formulas
are computed here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import captum.attr as captum
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS, EXACT, DRAWS, NEURON, BACKGROUND = 20, 1000, 2000, 7, 3
X = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 2, 1, 0])
STARTS = torch.randn(BACKGROUND, 1, 8, 8, generator=torch.Generator().manual_seed(2))
IS_START = [False] * len(X) + [True] * BACKGROUND
"""For the rows X and then STARTS: whether a row is a baseline."""

PATH: dict[str, Any] = {"steps": STEPS, "spacing": "uniform"}
GRADIENT = {"name": "gradient"}
GRADIENT_X_ACTIVATION = {"name": "gradient_x_activation"}
RESCALE = {"name": "deeplift", "rules": "rescale"}
TO_ZERO = {"name": "exact_ablation", "fill": "zero"}
LEFT_CONDUCTANCE = {"name": "conductance", **PATH, "rule": "left"}
RIGHT_GRADIENTS = {"name": "integrated_gradients", **PATH, "rule": "right"}
SMOOTH = {"name": "gradient", "noise": {"samples": DRAWS, "level": 0.1}}


class Row(NamedTuple):
    """A line of the page: scores of another library, and the entry of `methods` that replaces them.

    `read`: turns the job's scores [examples, *units] into the shape of the other library.
    `bound`: a smaller difference is rounding, or the noise of random draws.
    """

    name: str
    theirs: Callable[[], Tensor]
    entry: dict[str, Any]
    read: Callable[[np.ndarray], np.ndarray] = lambda scores: scores
    bound: str = "1e-5"


def network() -> nn.Sequential:
    """Two convolutions and two dense layers with random weights: images of 8 × 8, 3 classes."""
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(1, 4, 3))
    net.add_module("relu1", nn.ReLU())
    net.add_module("conv2", nn.Conv2d(4, 6, 3, stride=2))
    net.add_module("relu2", nn.ReLU())
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(24, 16))
    net.add_module("relu3", nn.ReLU())
    net.add_module("fc2", nn.Linear(16, 3))
    return net.eval()


NET = network()
PLAIN = nn.Sequential(nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False)).eval()
LAYER = NET, NET.relu1
LATE = NET, NET.relu3


def of_layers() -> list[Row]:
    apart = torch.arange(4 * 6 * 6).view(1, 4, 6, 6)
    path = {"target": Y, "n_steps": STEPS}
    return [
        Row("LayerActivation", lambda: captum.LayerActivation(*LAYER).attribute(X), {"name": "activation"}),
        Row("LayerGradientXActivation", lambda: captum.LayerGradientXActivation(*LAYER).attribute(X, Y), GRADIENT_X_ACTIVATION),
        Row(
            "LayerGradientXActivation(multiply_by_inputs=False)",
            lambda: captum.LayerGradientXActivation(*LAYER, multiply_by_inputs=False).attribute(X, Y),
            GRADIENT,
        ),
        Row(
            "LayerConductance, riemann_trapezoid",
            lambda: captum.LayerConductance(*LAYER).attribute(X, **path, method="riemann_trapezoid"),
            LEFT_CONDUCTANCE,
        ),
        Row(
            "InternalInfluence, riemann_right",
            lambda: captum.InternalInfluence(*LAYER).attribute(X, **path, method="riemann_right"),
            {"name": "internal_influence", **PATH, "rule": "right"},
        ),
        Row(
            "LayerIntegratedGradients, riemann_right",
            lambda: captum.LayerIntegratedGradients(*LAYER).attribute(X, **path, method="riemann_right"),
            RIGHT_GRADIENTS,
        ),
        Row("LayerDeepLift", lambda: captum.LayerDeepLift(*LAYER).attribute(X, target=Y), RESCALE),
        Row(
            "LayerGradCam",
            lambda: captum.LayerGradCam(*LAYER).attribute(X, Y),
            {"name": "grad_cam"},
            lambda scores: scores.sum(1, keepdims=True),
        ),
        Row("LayerFeatureAblation", lambda: captum.LayerFeatureAblation(*LAYER).attribute(X, target=Y, layer_mask=apart), TO_ZERO),
    ]


def of_defaults() -> list[Row]:
    """Captum's conductance with few and many nodes, beside the job's with few and many steps."""

    def conductance(nodes: int) -> Callable[[], Tensor]:
        return lambda: captum.LayerConductance(*LAYER).attribute(X, target=Y, n_steps=nodes)

    default, exact = {"name": "conductance"}, {"name": "conductance", "steps": EXACT}
    return [
        Row("LayerConductance, 50 nodes", conductance(50), exact),
        Row("LayerConductance, 1000 nodes", conductance(EXACT), exact),
        Row("LayerConductance, 1000 nodes, beside 20 steps", conductance(EXACT), default),
        Row("LayerConductance, 1000 nodes, beside 50 steps", conductance(EXACT), {**default, "steps": 50}),
        Row("LayerConductance, 1000 nodes, beside adaptive steps", conductance(EXACT), {**default, "spacing": "adaptive"}),
    ]


def of_inputs() -> list[Row]:
    return [
        Row("Saliency", lambda: captum.Saliency(NET).attribute(X, Y), {**GRADIENT, "statistic": "mean_abs"}, np.abs),
        Row("InputXGradient", lambda: captum.InputXGradient(NET).attribute(X, Y), GRADIENT_X_ACTIVATION),
        Row(
            "IntegratedGradients, riemann_right",
            lambda: captum.IntegratedGradients(NET).attribute(X, target=Y, n_steps=STEPS, method="riemann_right"),
            RIGHT_GRADIENTS,
        ),
        Row("DeepLift", lambda: captum.DeepLift(NET).attribute(X, target=Y), RESCALE),
        Row("FeatureAblation", lambda: captum.FeatureAblation(NET).attribute(X, target=Y), TO_ZERO),
        Row("Occlusion, windows of one pixel", lambda: captum.Occlusion(NET).attribute(X, (1, 1, 1), target=Y), TO_ZERO),
        Row("NoiseTunnel(Saliency), 2000 samples", noisy, SMOOTH, bound="0.1"),
    ]


def noisy() -> Tensor:
    """SmoothGrad of each example alone: Captum has one σ for all examples, a job one for each."""
    tunnel = captum.NoiseTunnel(captum.Saliency(NET))
    return torch.cat(
        [
            tunnel.attribute(x, nt_samples=DRAWS, stdevs=0.1 * float(x.max() - x.min()), target=y, abs=False)
            for x, y in zip(X.split(1), Y, strict=True)
        ]
    )


def of_backgrounds() -> list[Row]:
    return [
        Row("DeepLiftShap", lambda: captum.DeepLiftShap(NET).attribute(X, STARTS, target=Y), RESCALE),
        Row(
            "GradientShap, 2000 samples",
            lambda: captum.GradientShap(NET).attribute(X, STARTS, n_samples=DRAWS, target=Y),
            {"name": "integrated_gradients"},
            bound="0.1",
        ),
    ]


def of_layer_backgrounds() -> list[Row]:
    return [Row("LayerDeepLiftShap", lambda: captum.LayerDeepLiftShap(*LAYER).attribute(X, STARTS, target=Y), RESCALE)]


def of_neurons() -> list[Row]:
    path = {"n_steps": STEPS, "method": "riemann_right"}
    return [
        Row("NeuronGradient", lambda: captum.NeuronGradient(*LATE).attribute(X, NEURON), GRADIENT),
        Row(
            "NeuronIntegratedGradients, riemann_right",
            lambda: captum.NeuronIntegratedGradients(*LATE).attribute(X, NEURON, **path),
            RIGHT_GRADIENTS,
        ),
        Row("NeuronDeepLift", lambda: captum.NeuronDeepLift(*LATE).attribute(X, NEURON), RESCALE),
        Row("NeuronFeatureAblation", lambda: captum.NeuronFeatureAblation(*LATE).attribute(X, NEURON), TO_ZERO),
    ]


def of_one_neuron() -> list[Row]:
    def summed() -> Tensor:
        return captum.NeuronConductance(*LATE).attribute(X, NEURON, target=Y, n_steps=EXACT).flatten(1).sum(1)

    entry = {"name": "conductance", "steps": EXACT}
    return [Row("NeuronConductance, summed over the inputs", summed, entry, lambda scores: scores[:, NEURON])]


def of_relevance() -> list[Row]:
    return [Row("LRP, network without biases", lambda: captum.LRP(PLAIN).attribute(X.flatten(1), Y), GRADIENT_X_ACTIVATION)]


def of_zennit() -> list[Row]:
    """Zennit's attributors, computed here: the product of `attr_output` and the Jacobian."""

    def gradient(x: Tensor, attr_output: Callable[[Tensor], Tensor]) -> Tensor:
        moved = x.clone().requires_grad_()
        output = NET(moved)
        return torch.autograd.grad(output, moved, attr_output(output.detach()))[0]

    def one_hot(output: Tensor) -> Tensor:
        return functional.one_hot(Y, output.shape[1]).to(output)

    def path() -> Tensor:
        return X * torch.stack([gradient(X * step / STEPS, one_hot) for step in range(1, STEPS + 1)]).mean(0)

    return [
        Row("zennit Gradient × input, one-hot attr_output", lambda: X * gradient(X, one_hot), GRADIENT_X_ACTIVATION),
        Row("zennit Gradient × input, default attr_output", lambda: X * gradient(X, lambda output: output), GRADIENT_X_ACTIVATION),
        Row("zennit IntegratedGradients, one-hot attr_output", path, RIGHT_GRADIENTS),
    ]


def of_heatmaps() -> list[Row]:
    """The heatmaps of pytorch-grad-cam, computed here, without the enlargement to the image."""

    def scaled(cam: np.ndarray) -> np.ndarray:
        positive = np.maximum(cam, 0)
        positive = positive - positive.min((1, 2), keepdims=True)
        return positive / (1e-7 + positive.max((1, 2), keepdims=True))

    def cam(weights: Callable[[Tensor], Tensor]) -> Tensor:
        h = NET[:2](X).detach().requires_grad_()
        (slope,) = torch.autograd.grad(NET[2:](h).gather(1, Y[:, None]).sum(), h)
        return torch.from_numpy(scaled((weights(slope) * h).sum(1).detach().numpy()))

    def read(scores: np.ndarray) -> np.ndarray:
        return scaled(scores.sum(1))

    return [
        Row("pytorch-grad-cam GradCAM", lambda: cam(lambda slope: slope.mean((2, 3), keepdim=True)), {"name": "grad_cam"}, read),
        Row("pytorch-grad-cam HiResCAM", lambda: cam(lambda slope: slope), GRADIENT_X_ACTIVATION, read),
    ]
