"""Methods: how each unit gets its score, one class each, one table of all."""

from unitrank_engine.methods.activation import ActivationMethod
from unitrank_engine.methods.batch import Batch, PathEnds, Point
from unitrank_engine.methods.deeplift import DeepLiftMethod
from unitrank_engine.methods.exact_ablation import ExactAblationMethod
from unitrank_engine.methods.grad_cam import GradCamMethod
from unitrank_engine.methods.gradient import GradientMethod, GradientXActivationMethod, GradientXDeltaMethod
from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.path.conductance import ConductanceMethod
from unitrank_engine.methods.path.integrated_gradients import IntegratedGradientsMethod
from unitrank_engine.methods.path.internal_influence import InternalInfluenceMethod
from unitrank_engine.methods.random import RandomMethod

METHODS: dict[str, type[ScoringMethod]] = {
    "activation": ActivationMethod,
    "gradient": GradientMethod,
    "gradient_x_activation": GradientXActivationMethod,
    "gradient_x_delta": GradientXDeltaMethod,
    "conductance": ConductanceMethod,
    "internal_influence": InternalInfluenceMethod,
    "integrated_gradients": IntegratedGradientsMethod,
    "deeplift": DeepLiftMethod,
    "exact_ablation": ExactAblationMethod,
    "grad_cam": GradCamMethod,
    "random": RandomMethod,
}

__all__ = ["METHODS", "Batch", "PathEnds", "Point", "ScoringMethod"]
