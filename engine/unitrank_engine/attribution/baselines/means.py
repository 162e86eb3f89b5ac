"""The means over the baselines of one batch, in float64: h′, F(x′), the scores and the gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unitrank_engine.methods import PathEnds, Point
from unitrank_engine.methods.batch import PathGap
from unitrank_engine.program.split import Live

Key = tuple[int, str]
"""The number of a target, and a method's `score_key`."""


class BaselineMeans:
    """Adds up the values of one batch, baseline by baseline.

    `count`: the number of baselines.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._ends: list[PathEnds] = []
        self._h: Tensor | None = None
        self._f: list[Tensor] = []
        self._scores: dict[Key, Tensor] = {}
        self._types: dict[Key, torch.dtype] = {}
        self._gaps: dict[Key, list[Tensor | None]] = {}

    def add(self, ends: Sequence[PathEnds], scores: Mapping[Key, Tensor], gaps: Mapping[Key, PathGap]) -> None:
        """Add the next baseline. `ends`: one for each target."""
        h, f = self._shared(ends[0]).double(), [each.f_baseline.double() for each in ends]
        if not self._ends:
            self._ends, self._h, self._f = list(ends), h, f
        else:
            assert self._h is not None
            self._h = self._h + h
            self._f = [total + each for total, each in zip(self._f, f, strict=True)]
            self._ends = [
                replace(before, at_baseline=before.at_baseline & each.at_baseline)
                for before, each in zip(self._ends, ends, strict=True)
            ]
        for key, each in scores.items():
            total = self._scores.setdefault(key, torch.zeros_like(each, dtype=torch.float64))
            total += each
            self._types[key] = each.dtype
        for key, gap in gaps.items():
            parts = (gap.gap, gap.change, gap.hidden)
            self._gaps[key] = [_sum(*pair) for pair in zip(self._gaps.get(key, (None,) * 3), parts, strict=True)]

    def ends(self) -> list[PathEnds]:
        """Return the ends with the mean h′ and the mean F(x′).

        They have no values of single baselines: no inputs, no live values, no gradient.
        """
        assert self._h is not None
        last = self._ends[0]
        h = (self._h / self._count).to(last.start.h.dtype).expand_as(last.start.h)
        return [
            replace(
                each,
                baseline=(),
                start=Point(0.0, h, None),
                f_baseline=f / self._count,
                live_baseline=Live((), 0),
                affine_baseline=(),
            )
            for each, f in zip(self._ends, self._f, strict=True)
        ]

    def scores(self) -> dict[Key, Tensor]:
        """Return the mean scores, in the type of the scores."""
        return {key: (total / self._count).to(self._types[key]) for key, total in self._scores.items()}

    def gaps(self) -> dict[Key, PathGap]:
        """Return the mean gaps of the paths, and the mean changes of F to compare them with."""
        return {
            key: PathGap(gap / self._count, change / self._count, None if hidden is None else hidden / self._count)
            for key, (gap, change, hidden) in self._gaps.items()
            if gap is not None and change is not None
        }

    def _shared(self, ends: PathEnds) -> Tensor:
        """Return h′ with one row where all examples share the baseline."""
        return ends.start.h[:1] if ends.live_baseline.rows == 1 else ends.start.h


def _sum(total: Tensor | None, each: Tensor | None) -> Tensor | None:
    if each is None or total is None:
        return each if total is None else total
    return total + each
