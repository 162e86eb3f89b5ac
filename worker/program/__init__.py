"""One form for every model: a functionalised ATen graph, its places by name, and its split at a place."""

from worker.program.places import Place
from worker.program.program import Program, Value
from worker.program.split import Split

__all__ = ["Place", "Program", "Split", "Value"]
