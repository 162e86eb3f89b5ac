"""One form for every model: a functionalised ATen graph, its places by name, and its split at a place."""

from unitrank_engine.program.places import Place
from unitrank_engine.program.program import Program, ProgramValue
from unitrank_engine.program.split import Split

__all__ = ["Place", "Program", "ProgramValue", "Split"]
