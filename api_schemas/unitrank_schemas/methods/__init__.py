"""Methods: one file for each family with their options and cards, and a table of all methods."""

from unitrank_schemas.methods.activation import Activation
from unitrank_schemas.methods.base import CLASS_MARK, MethodBase, RankingId, Statistic, entry_id
from unitrank_schemas.methods.cards import MethodCard, card
from unitrank_schemas.methods.deeplift import DeepLift
from unitrank_schemas.methods.exact_ablation import ExactAblation
from unitrank_schemas.methods.given import MOST_IMPORTANCE_BYTES, NO_ROW, Given
from unitrank_schemas.methods.grad_cam import GradCam
from unitrank_schemas.methods.gradient import Gradient, GradientXActivation, GradientXDelta, Noise, SmoothedMethod
from unitrank_schemas.methods.path import MOST_POINT_BYTES, Conductance, IntegratedGradients, InternalInfluence, PathMethod
from unitrank_schemas.methods.random import Random
from unitrank_schemas.methods.shapley import MOST_ENUMERATED, Shapley
from unitrank_schemas.methods.table import METHODS, Method, with_ids
from unitrank_schemas.methods.taylor import Taylor
from unitrank_schemas.methods.weight_norm import WeightNorm

__all__ = [
    "CLASS_MARK",
    "METHODS",
    "MOST_ENUMERATED",
    "MOST_IMPORTANCE_BYTES",
    "MOST_POINT_BYTES",
    "NO_ROW",
    "Activation",
    "Conductance",
    "DeepLift",
    "ExactAblation",
    "Given",
    "GradCam",
    "Gradient",
    "GradientXActivation",
    "GradientXDelta",
    "IntegratedGradients",
    "InternalInfluence",
    "Method",
    "MethodBase",
    "MethodCard",
    "Noise",
    "PathMethod",
    "Random",
    "RankingId",
    "Shapley",
    "SmoothedMethod",
    "Statistic",
    "Taylor",
    "WeightNorm",
    "card",
    "entry_id",
    "with_ids",
]
