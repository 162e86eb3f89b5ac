"""Methods: how each unit gets its score, one class each, one table of all."""

from worker.methods.batch import Batch, Ends, Point
from worker.methods.conductance import Conductance
from worker.methods.deeplift import DeepLift
from worker.methods.ends import Activation, Gradient, GradientXActivation, GradientXDelta
from worker.methods.exact_ablation import ExactAblation
from worker.methods.grad_cam import GradCam
from worker.methods.integrated_gradients import IntegratedGradients
from worker.methods.internal_influence import InternalInfluence
from worker.methods.method import Method
from worker.methods.random import Random

METHODS: dict[str, type[Method]] = {
    "activation": Activation,
    "gradient": Gradient,
    "gradient_x_activation": GradientXActivation,
    "gradient_x_delta": GradientXDelta,
    "conductance": Conductance,
    "internal_influence": InternalInfluence,
    "integrated_gradients": IntegratedGradients,
    "deeplift": DeepLift,
    "exact_ablation": ExactAblation,
    "grad_cam": GradCam,
    "random": Random,
}

__all__ = ["METHODS", "Batch", "Ends", "Method", "Point"]
