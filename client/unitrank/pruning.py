"""Masks that remove the least important units of a layer, with the accuracy that the job measured.

A mask removes exactly the units that the job replaced by zeros in its order `least`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unitrank.results import JobResult
    from unitrank_schemas.results import AblationResult, Cluster

NEW_JOB = 'run a job with `labels` and `ablation: {{"fill": "zero", "fractions": [{fraction:g}]}}`'

MASKED = """\
import torch
from safetensors.torch import load_file

keep = load_file({path!r})["keep"] > 0


def masked(value):
    return torch.where(keep.to(value.device), value, 0)
"""
HOOK = """
calls = 0


def begin(module, inputs):
    global calls
    calls = 0


def remove_units({arguments}):
    global calls
    calls += 1
    if calls != {call}:
        return {value}
    return (masked({value}[0]), *{value}[1:]) if isinstance({value}, tuple) else masked({value})


model.register_forward_pre_hook(begin)
model.get_submodule({module!r}).{register}(remove_units)
"""


@dataclass(frozen=True)
class PruningMask:
    """The units of a layer that stay, and the accuracy with all others set to 0.

    Args:
        keep: 1 for the elements that stay and 0 for all others, in a shape that broadcasts to the
            layer's value with its batch.
        layer: name of the layer.
        at: `output` or `input`, the side of the layer.
        ranking: id of the ranking.
        cluster: name of the cluster.
        removed: number of units that are set to 0.
        units: number of all units.
        accuracy: accuracy on the cluster's test examples with these units set to 0.
        accuracy_before: accuracy of the whole model on all the cluster's examples.
        removable_at: the largest tested number of units that can be removed within the job's
            `tolerance`; None where the cluster has too few test examples for a number.
    """

    keep: NDArray[Any]
    layer: str
    at: str
    ranking: str
    cluster: str
    removed: int
    units: int
    accuracy: float
    accuracy_before: float | None
    removable_at: int | None

    def save(self, path: str | Path) -> Path:
        """Writes the array `keep` as safetensors, and returns the path. Raises NotPossible."""
        from unitrank_tables.result_arrays import encode_arrays

        try:
            Path(path).write_bytes(encode_arrays({"keep": self.keep}))
        except OSError as error:
            raise NotPossible(f"{path} cannot be written: {error.strerror or error}", code="not_written") from error
        return Path(path)

    def snippet(self, path: str | Path) -> str:
        """Python code that applies the mask in a file to a module named `model`."""
        module, _, call = self.layer.partition("@")
        if module == "input" or module.startswith("input:"):
            return MASKED.format(path=str(path)) + "\n\n# Call the model with masked(x) in place of x.\n"
        names = {"output": ("register_forward_hook", "module, inputs, output", "output")}
        register, arguments, value = names.get(self.at, ("register_forward_pre_hook", "module, inputs", "inputs"))
        hook = HOOK.format(module=module, call=int(call or 0) + 1, register=register, arguments=arguments, value=value)
        return MASKED.format(path=str(path)) + hook

    def __str__(self) -> str:
        before = "" if self.accuracy_before is None else f" (with all units, on all its examples, {self.accuracy_before:.4g})"
        text = (
            f"{self.removed} of {self.units} units of {self.layer} are removed: the accuracy on the test examples of cluster "
            f"{self.cluster!r} is {self.accuracy:.4g}{before}"
        )
        if self.removable_at is None:
            return f"{text}. The cluster has too few test examples to say how many units can be removed without harm."
        limit = "up to" if self.removed <= self.removable_at else "only"
        return f"{text}. The job calls {limit} {self.removable_at} units removable."


def mask_of(result: JobResult, remove: float, *, ranking: str | None = None, cluster: str | None = None) -> PruningMask:
    """The mask that removes a share of the units.

    Args:
        result: the result of a job.
        remove: the share of the units to remove, one of the job's `ablation.fractions`.
        ranking: id of a ranking; None: the best one.
        cluster: name of a cluster; None: the only one.

    Raises NotPossible where the job did not test the removal of these units.
    """
    if result.layer.parts:
        layers = ", ".join(part.layer for part in result.layer.parts)
        raise NotPossible(f"a mask belongs to one layer, not to all layers together; use one of {layers}", code="no_mask")
    name = ranking or result.best
    if name not in result.rankings:
        raise NotPossible(f"ranking {name!r} not found; use one of {', '.join(result.rankings)}", code="ranking_not_found")
    row, tested = _cluster(result, cluster)
    ablation, advice = result.rankings[name].clusters[tested.name].ablation, NEW_JOB.format(fraction=remove)
    if ablation is None or ablation.least is None:
        raise NotPossible(f"the job did not replace the least important units of cluster {tested.name!r}; {advice}", code="no_mask")
    step = next((index for index, fraction in enumerate(ablation.fractions) if isclose(fraction, remove)), None)
    if step is None:
        fractions = ", ".join(f"{fraction:g}" for fraction in ablation.fractions)
        raise NotPossible(
            f"the job did not test removing {remove:g} of the units; use one of {fractions}, or {advice}", code="no_mask"
        )
    if ablation.least.accuracy is None:
        raise NotPossible(f"the job has no labels, so it cannot predict the accuracy without units; {advice}", code="no_labels")
    if f"least_step/{name}" not in result.arrays:
        raise NotPossible(
            f"the result has no array least_step/{name}: the job did not replace units by zeros, or the result is too large for "
            f"it; {advice}",
            code="no_mask",
        )
    return _mask(result, name, row, tested, ablation, step)


def _mask(result: JobResult, name: str, row: int, cluster: Cluster, ablation: AblationResult, step: int) -> PruningMask:
    keep = result.arrays[f"least_step/{name}"][row] > step
    assert ablation.least is not None
    assert ablation.least.accuracy is not None
    return PruningMask(
        keep=keep.astype("float32"),
        layer=result.layer.name,
        at=result.layer.at,
        ranking=name,
        cluster=cluster.name,
        removed=ablation.counts[step],
        units=result.layer.count,
        accuracy=ablation.least.accuracy[step],
        accuracy_before=cluster.accuracy,
        removable_at=ablation.removable_at,
    )


def _cluster(result: JobResult, name: str | None) -> tuple[int, Cluster]:
    """The number of a cluster, and the cluster. Raises NotPossible."""
    names = [cluster.name for cluster in result.clusters]
    if name is None and len(names) > 1:
        raise NotPossible(
            f"the job has {len(names)} clusters, each with its own order of units; choose one: {', '.join(names[:20])}",
            code="cluster_missing",
        )
    if name is not None and name not in names:
        raise NotPossible(f"cluster {name!r} not found; use one of {', '.join(names[:20])}", code="cluster_not_found")
    row = 0 if name is None else names.index(name)
    return row, result.clusters[row]
