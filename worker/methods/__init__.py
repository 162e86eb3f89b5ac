"""Methods: how each unit gets its score, one class each, one table of all."""

from worker.methods.conductance import Conductance
from worker.methods.ends import Activation, Gradient, GradientXActivation, GradientXDelta
from worker.methods.internal_influence import InternalInfluence
from worker.methods.path import Batch, Method, Point
from worker.methods.random import Random

METHODS: dict[str, type[Method]] = {
    "activation": Activation,
    "gradient": Gradient,
    "gradient_x_activation": GradientXActivation,
    "gradient_x_delta": GradientXDelta,
    "conductance": Conductance,
    "internal_influence": InternalInfluence,
    "random": Random,
}

__all__ = ["METHODS", "Batch", "Method", "Point"]
