"""Methods: how each unit gets its score, one class each, one table of all."""

from unitrank_engine.methods.batch import Batch, Ends, Point
from unitrank_engine.methods.conductance import Conductance
from unitrank_engine.methods.deeplift import DeepLift
from unitrank_engine.methods.ends import Activation, Gradient, GradientXActivation, GradientXDelta
from unitrank_engine.methods.exact_ablation import ExactAblation
from unitrank_engine.methods.grad_cam import GradCam
from unitrank_engine.methods.integrated_gradients import IntegratedGradients
from unitrank_engine.methods.internal_influence import InternalInfluence
from unitrank_engine.methods.method import Method
from unitrank_engine.methods.random import Random

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
