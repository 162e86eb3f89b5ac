"""The context of the ranking of all layers' units together."""

from collections.abc import Sequence
from dataclasses import replace

from unitrank_engine.job.context import JobContext
from unitrank_engine.job.joint_units import JointUnits
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_schemas.jobs import JobRequest


def joint_context(contexts: Sequence[JobContext], request: JobRequest) -> JobContext:
    """Return the context of the layers' units together. `contexts`: those of the layers."""
    first = contexts[0]
    split = first.program.joint_split([context.split for context in contexts], first.output)
    return replace(
        first,
        request=request,
        split=split,
        units=JointUnits(request.units, split.place, parts=[context.units for context in contexts]),
        streams=RandomStreams.of(request.seed, [context.streams.key for context in contexts]),
        meter=first.meter.of_part(len(contexts)),
        _values={},
    )
