"""Decides which layers of a job share their passes along the paths of the inputs."""

from collections.abc import Sequence
from dataclasses import replace

from unitrank_engine.job.baselines import Baselines
from unitrank_engine.job.context import JobContext
from unitrank_engine.program import Split
from unitrank_engine.reuse.main_pass import SUM_BYTES, kept_bytes


def with_shared_passes(contexts: Sequence[JobContext], baselines: Baselines, batch: int) -> list[JobContext]:
    """Return the contexts of the layers with the splits that share their passes.

    Layers follow each other in groups whose values fit in memory together. A job with several
    baselines shares no passes between layers.

    `batch`: rows in one pass.
    """
    if len(contexts) < 2 or len(baselines.each) > 1:
        return list(contexts)
    groups, size = list[list[JobContext]](), SUM_BYTES
    for context in contexts:
        methods = sum(entry.scores_examples for entry in context.request.methods)
        needed = len(context.of_targets()) * kept_bytes(context, methods, batch)
        size += needed
        if size > SUM_BYTES:
            groups.append([])
            size = needed
        groups[-1].append(context)
    return [replace(context, shared_splits=_splits(group), _values={}) for group in groups for context in group]


def _splits(contexts: Sequence[JobContext]) -> tuple[Split, ...]:
    """The splits of a group, each once; none where there is only one."""
    splits = tuple(dict.fromkeys(context.split for context in contexts))
    return splits if len(splits) > 1 else ()
