"""F of each target for values with sets of units replaced.

A target that is linear in the model's output is a product of one vector and the value from which on
the model is linear. The product costs less than the outputs of all classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import Fixed, is_linear
from unitrank_engine.methods.batch import gradients_of
from unitrank_engine.methods.exact_ablation.replacing import is_precise
from unitrank_engine.methods.shapley.replaced_sets import ReplacedSets
from unitrank_engine.program import Split
from unitrank_engine.program.linearity.linear_end import linear_end
from unitrank_engine.program.split import Live


@dataclass(frozen=True)
class OutputTargets:
    """F from the outputs of the model.

    `contexts`, `fixed`: the context of each target, and its class of each example.
    """

    contexts: Sequence[JobContext]
    fixed: Sequence[Fixed]
    rest: Split
    live: Live
    offsets: float = 0.0

    def without_offset(self, values: Float[Tensor, "copies *value"]) -> Float[Tensor, "targets copies"]:
        """Return F. `values`: all examples once for each set, where `rest` begins."""
        with torch.no_grad():
            return torch.stack(self.of_output(self.rest.tail(values, self.live)))

    def of_output(self, output: Tensor) -> list[Float[Tensor, " copies"]]:
        """Return F of each target for some copies of all examples."""
        times = len(output) // self.live.rows
        return [context.score(output, fixed.repeat(times)) for context, fixed in zip(self.contexts, self.fixed, strict=True)]


@dataclass(frozen=True)
class LinearTargets:
    """F = slope · y + offset, where the model is linear from the value y on.

    `split`: from the replaced values to y.
    `axis`: the axis of the batch in y.
    """

    split: Split
    live: Live
    axis: int
    slopes: Float[Tensor, "one_or_rows targets y"]
    """One for all examples where the slopes of all examples are equal."""
    offsets: Float[Tensor, "targets 1 rows"]

    def without_offset(self, values: Float[Tensor, "copies *value"]) -> Float[Tensor, "targets copies"]:
        """Return slope · y. `values`: all examples once for each set, where `split` begins."""
        with torch.no_grad():
            y = self.split.tail(values, self.live).movedim(self.axis, 0).flatten(1)
        rows, targets = self.live.rows, self.slopes.shape[1]
        if len(self.slopes) > 1:
            by_row = y.reshape(-1, rows, y.shape[1]).transpose(0, 1)
            return torch.bmm(by_row, self.slopes.mT).permute(2, 1, 0).reshape(targets, -1)
        return (y @ self.slopes[0].T).T if targets > 1 else torch.mv(y, self.slopes[0, 0])[None]


SetTargets = OutputTargets | LinearTargets


def set_targets(contexts: Sequence[JobContext], fixed: Sequence[Fixed], sets: ReplacedSets) -> SetTargets:
    """Return how F is computed. `fixed`: each target's classes of the examples of `sets`."""
    plain = OutputTargets(contexts, fixed, sets.rest, sets.live)
    return _linear_targets(plain, sets) or plain


def _linear_targets(plain: OutputTargets, sets: ReplacedSets) -> LinearTargets | None:
    """Return None where F is not linear in an earlier value than the output."""
    context = sets.context
    if not all(is_linear(each.request.target) for each in plain.contexts):
        return None
    cut = linear_end(context.program, sets.rest.place, context.output)
    if cut is None or not is_precise(cut[1]):
        return None
    split, end = cut
    live, live_behind = (_live(each, sets) for each in cut)
    with torch.no_grad():
        y = split.tail(sets.value, live).movedim(end.place.batch_axis, 0).detach().requires_grad_()
    f = plain.of_output(end.tail(y, live_behind))
    slopes = torch.stack(list(gradients_of(f, y)), 1).flatten(2)
    if not slopes.isfinite().all():
        return None
    products = (slopes.double() * y.detach().flatten(1)[:, None].double()).sum(-1)
    offsets = torch.stack([each.detach() for each in f]).double() - products.T
    slopes = slopes[:1] if torch.equal(slopes, slopes[:1].expand_as(slopes)) else slopes
    return LinearTargets(split, live, end.place.batch_axis, slopes, offsets[:, None])


def _live(split: Split, sets: ReplacedSets) -> Live:
    return split.head(sets.x)[1] if split.reads_live else Live((), len(sets.h))
