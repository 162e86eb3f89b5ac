"""Values of single examples, which the main pass holds only for the range that it computes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import PathEnds, PathGap


@dataclass
class ExampleValues:
    """Values of each example of a range that do not depend on the method."""

    f: np.ndarray
    """F(x)."""
    f_baseline: np.ndarray
    """F(x′)."""
    classes: np.ndarray
    """The class that is explained."""
    flat: np.ndarray
    """Whether the gradient at the input is exactly zero.

    All False if no method takes that gradient.
    """
    at_baseline: np.ndarray
    """Whether the example equals its baseline."""
    probabilities: np.ndarray
    """Whether the model's output resembles probabilities."""
    against: np.ndarray
    """Whether the explained class is the one that it is compared with."""
    right: np.ndarray | None
    """Whether the model predicts the label; None without labels or with one class."""
    labels: np.ndarray
    """The labels of the examples for which `right` is known; else zeros."""

    @classmethod
    def empty(cls, n: int) -> "ExampleValues":
        f, f_baseline = np.zeros(n), np.zeros(n)
        classes, labels = np.zeros(n, np.int64), np.zeros(n, np.int64)
        flat, at_baseline, probabilities, against, right = (np.zeros(n, bool) for _ in range(5))
        return cls(f, f_baseline, classes, flat, at_baseline, probabilities, against, right, labels)

    def take(self, here: slice, context: JobContext, rows: np.ndarray, ends: PathEnds) -> None:
        """Set the values of the examples of a batch, which have these dataset rows."""
        self.f[here] = ends.f.double().cpu().numpy()
        self.f_baseline[here] = ends.f_baseline.double().cpu().numpy()
        self.classes[here] = ends.fixed.classes.cpu().numpy()
        against = context.against(rows)
        if against is not None:
            self.against[here] = (ends.fixed.classes == against).cpu().numpy()
        labels = context.examples.labels(rows)
        right = context.right(ends.output, labels)
        if right is None or labels is None:
            self.right = None
        elif self.right is not None:
            self.right[here], self.labels[here] = right.cpu().numpy(), labels.cpu().numpy()
        gradient = ends.input.gradient
        if gradient is not None:
            self.flat[here] = (gradient == 0).all(dim=tuple(range(1, gradient.dim()))).cpu().numpy()
        self.at_baseline[here] = ends.at_baseline.cpu().numpy()
        self.probabilities[here] = ends.probabilities.cpu().numpy()


@dataclass
class PathGaps:
    """A path method's gaps and the changes of F to compare them with, for each example."""

    gap: np.ndarray
    change: np.ndarray
    hidden: np.ndarray
    """Gaps that the sum over units does not show (`PathGap.hidden`); NaN where not measured."""

    @classmethod
    def empty(cls, n: int) -> "PathGaps":
        return cls(np.zeros(n), np.zeros(n), np.full(n, np.nan))

    def take(self, here: slice, gaps: PathGap) -> None:
        """Set the values of these examples."""
        self.gap[here], self.change[here] = gaps.gap.cpu().numpy(), gaps.change.cpu().numpy()
        if gaps.hidden is not None:
            self.hidden[here] = gaps.hidden.cpu().numpy()


@dataclass
class MethodValues:
    """Values of each example of a range for one method."""

    totals: np.ndarray
    """The sum of each example's scores."""
    path_gaps: PathGaps | None
    """None for methods without a path."""


def sums_of(columns: Mapping[str, np.ndarray], members: Mapping[int, np.ndarray], slots: int) -> dict[str, np.ndarray]:
    """Return the sum of each column over the members of each slot, in float64, `[slots]`.

    `members`: slot → its examples.
    """
    sums = {name: np.zeros(slots) for name in columns}
    for slot, examples in members.items():
        for name, column in columns.items():
            sums[name][slot] = column[examples].sum()
    return sums
