"""Sums along a path from the baseline to the input: the points, the walks, and the methods that add them up."""

from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.path.conductance import ConductanceMethod
from unitrank_engine.methods.path.integrated_gradients import IntegratedGradientsMethod
from unitrank_engine.methods.path.internal_influence import InternalInfluenceMethod

FAMILY: dict[str, type[ScoringMethod]] = {
    "conductance": ConductanceMethod,
    "internal_influence": InternalInfluenceMethod,
    "integrated_gradients": IntegratedGradientsMethod,
}
