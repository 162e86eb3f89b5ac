"""Path methods sum gradients along a straight path from the baseline to the input.

`walk` runs the model at points of the path, and `sums` adds up its intervals. `refinement` doubles
the steps until a tolerance is met. Each method has a file.
"""

from unitrank_engine.methods.method import ScoringMethod
from unitrank_engine.methods.path.conductance import ConductanceMethod
from unitrank_engine.methods.path.integrated_gradients import IntegratedGradientsMethod
from unitrank_engine.methods.path.internal_influence import InternalInfluenceMethod

FAMILY: dict[str, type[ScoringMethod]] = {
    "conductance": ConductanceMethod,
    "internal_influence": InternalInfluenceMethod,
    "integrated_gradients": IntegratedGradientsMethod,
}
