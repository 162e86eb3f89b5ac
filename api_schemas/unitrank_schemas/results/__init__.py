"""The summary of a finished job. docs/results.md describes the arrays."""

from unitrank_schemas.results.ablation import AblationResult, Band, Control, Curve, KeepCurve, LeastCurve
from unitrank_schemas.results.comparisons import Agreement, Comparison, GivenRelation, Relation
from unitrank_schemas.results.fidelity import Difference, FidelityResult
from unitrank_schemas.results.plots import Plot
from unitrank_schemas.results.rankings import (
    BaselineAgreement,
    ClusterRanking,
    Completeness,
    Overall,
    Ranking,
    Specificity,
    Unit,
    Verified,
)
from unitrank_schemas.results.result import JOINT, Cost, LayeredResult, LayerResult, Leader, Provenance, Result, Warn
from unitrank_schemas.results.subject import (
    Cluster,
    Content,
    RankedLayer,
    UnitsOfLayer,
    layer_of_unit,
    name_of_unit,
    place_in_words,
    unit_name,
    units_noun,
)
from unitrank_schemas.results.units import UnitEffect, UnitExample, UnitExamples, UnitInCluster, UnitInRanking, UnitResult
from unitrank_schemas.results.verdicts import VERDICT_LABELS, Verdict

__all__ = [
    "JOINT",
    "VERDICT_LABELS",
    "AblationResult",
    "Agreement",
    "Band",
    "BaselineAgreement",
    "Cluster",
    "ClusterRanking",
    "Comparison",
    "Completeness",
    "Content",
    "Control",
    "Cost",
    "Curve",
    "Difference",
    "FidelityResult",
    "GivenRelation",
    "KeepCurve",
    "LayerResult",
    "LayeredResult",
    "Leader",
    "LeastCurve",
    "Overall",
    "Plot",
    "Provenance",
    "RankedLayer",
    "Ranking",
    "Relation",
    "Result",
    "Specificity",
    "Unit",
    "UnitEffect",
    "UnitExample",
    "UnitExamples",
    "UnitInCluster",
    "UnitInRanking",
    "UnitResult",
    "UnitsOfLayer",
    "Verdict",
    "Verified",
    "Warn",
    "layer_of_unit",
    "name_of_unit",
    "place_in_words",
    "unit_name",
    "units_noun",
]
