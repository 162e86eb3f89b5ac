"""Passes through the places of all targets, and the gradient of each target at its place.

Targets of one layer share the place. With several layers, one pass gives the values of all places,
and one backward pass for each class gives the gradients at all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from unitrank_engine.job.baselines import Inputs
from unitrank_engine.job.context import JobContext, shared_split
from unitrank_engine.methods.batch import gradients_at
from unitrank_engine.program.places import Place
from unitrank_engine.program.split import Live, Split


@dataclass(frozen=True)
class PlaceValues:
    """The values of one pass, with one entry for each place."""

    tracked: list[Tensor]
    """The values whose gradients autograd gives, in the layout of the graph."""
    h: list[Tensor]
    """The same without gradients, with the rows first."""
    live: list[Live]
    affine: list[tuple[Tensor, ...]]
    output: Tensor


class PlacePasses:
    """Passes through the places of these contexts, one for each target.

    `number`: for each target, the number of its place.
    """

    def __init__(self, contexts: Sequence[JobContext]) -> None:
        self._shared = shared_split(contexts[0]) if contexts[0].shared_splits else None
        self.splits = [contexts[0].split] if self._shared is None else self._shared.splits
        self.number = [self.splits.index(context.split) for context in contexts]
        self._classes = [context.target_class for context in contexts]

    def run(self, inputs: Inputs) -> PlaceValues:
        """Pass these inputs through the model."""
        if self._shared is None:
            return _at_one_place(self.splits[0], inputs)
        values = self._shared.run(inputs)
        return PlaceValues(
            tracked=values.places,
            h=[_rows_first(split.place, value.detach()) for split, value in zip(self.splits, values.places, strict=True)],
            live=values.live,
            affine=_affine(self.splits, inputs),
            output=values.output,
        )

    def gradients(self, values: PlaceValues, f: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor | None]:
        """Return the gradient of each target that needs it, at its place.

        `f`: F of each target, from the output of `values`.
        """
        by_class: dict[int | None, list[int]] = {}
        for target, each in enumerate(self._classes):
            if needed[target]:
                by_class.setdefault(each, []).append(target)
        groups = list(by_class.values())
        places = [[values.tracked[self.number[target]] for target in group] for group in groups]
        gradients: list[Tensor | None] = [None] * len(f)
        for group, of_group in zip(groups, gradients_at([f[group[0]] for group in groups], places), strict=True):
            for target, gradient in zip(group, of_group, strict=True):
                shared = self._shared is not None
                gradients[target] = _rows_first(self.splits[self.number[target]].place, gradient) if shared else gradient
        return gradients

    def backward_passes(self, needed: Sequence[bool]) -> int:
        """Return the number of backward passes of `gradients`."""
        return len({each for each, is_needed in zip(self._classes, needed, strict=True) if is_needed})


def _at_one_place(split: Split, inputs: Inputs) -> PlaceValues:
    affine = split.affine(inputs)
    h, live = split.head_behind(inputs, affine)
    # Autograd tracks h even where no method takes the gradient, because it can change the rounding.
    h = h.detach().requires_grad_(h.is_floating_point())
    with torch.enable_grad():
        output = split.tail(h, live)
    return PlaceValues([h], [h.detach()], [live], [affine], output)


def _affine(splits: Sequence[Split], inputs: Inputs) -> list[tuple[Tensor, ...]]:
    """The values at each frontier. Frontiers with the same nodes share their values."""
    by_nodes: dict[tuple[fx.Node, ...], tuple[Tensor, ...]] = {(): ()}
    nodes = [() if split.frontier is None else split.frontier.nodes for split in splits]
    for split, key in zip(splits, nodes, strict=True):
        if key not in by_nodes:
            by_nodes[key] = split.affine(inputs)
    return [by_nodes[key] for key in nodes]


def _rows_first(place: Place, value: Tensor) -> Tensor:
    return value.movedim(place.batch_axis, 0)
