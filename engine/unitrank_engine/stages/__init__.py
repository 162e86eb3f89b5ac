"""The stages of a job after its preparation.

`stages`: all layers of a job. `target`: one layer, for one class or the only one. `joint`: the
units of all layers together.
"""

from unitrank_engine.stages.stages import Stages

__all__ = ["Stages"]
