"""Sums over the examples of each cluster, from which the summary and its warnings follow.

Each range of examples gives its sums, so that a job keeps nothing for each example.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unitrank_engine.attribution.examples.extremes import Extremes, extremes_arrays, extremes_from
from unitrank_engine.attribution.examples.values import ExampleValues, MethodValues, sums_of
from unitrank_tables.range_result import Arrays, RangeResult

MAX_GAP = 0.05
"""A larger relative gap shows that the points of a path do not resolve where F changes."""
MIN_CHANGE = 1e-6
"""A smaller change of F, as a share of Σ (|F(x)| + |F(x′)|), is rounding: no gap is given."""
OF_CLUSTERS = ("f", "change", "size", "whole", "flat", "at_baseline", "against")
GAPS = ("gap", "change", "whole", "hidden", "hidden_change", "hidden_whole")


@dataclass(frozen=True)
class ExampleSums:
    """Sums that do not depend on the method."""

    f: Float[np.ndarray, " clusters"]
    """Σ F(x)."""
    change: Float[np.ndarray, " clusters"]
    """Σ (F(x) − F(x′))."""
    size: Float[np.ndarray, " clusters"]
    """Σ |F(x) − F(x′)|."""
    whole: Float[np.ndarray, " clusters"]
    """Σ (|F(x)| + |F(x′)|)."""
    flat: Float[np.ndarray, " clusters"]
    """The number of examples whose gradient at the input is exactly zero."""
    at_baseline: Float[np.ndarray, " clusters"]
    """The number of examples that equal their baseline."""
    against: Float[np.ndarray, " clusters"]
    """The number of examples that are explained for the class that they are compared with."""
    right: Float[np.ndarray, " clusters"] | None
    """The number of examples that the model assigns to their label.

    None without labels or with one class.
    """
    of_job: Float[np.ndarray, " 3"]
    """Of all examples: their number, how many are right, and how many resemble probabilities."""
    classes: Int[np.ndarray, "pairs 2"]
    """Each cluster with each class for which its examples are explained. A pair can repeat."""
    labels: Int[np.ndarray, "labels 2"]
    """Each label with its number of examples. A label can repeat. Empty where `right` is None."""
    activation: Extremes | None = None
    """The examples with extreme activations of each unit, where the job follows them."""

    @classmethod
    def of(
        cls, values: ExampleValues, members: Mapping[int, np.ndarray], clusters: int, activation: Extremes | None
    ) -> "ExampleSums":
        """Return the sums of a range. `members`: cluster → its examples."""
        change, right = values.f - values.f_baseline, values.right
        columns = {
            "f": values.f,
            "change": change,
            "size": np.abs(change),
            "whole": np.abs(values.f) + np.abs(values.f_baseline),
            "flat": values.flat,
            "at_baseline": values.at_baseline,
            "against": values.against,
        }
        pairs = [(cluster, each) for cluster, examples in members.items() for each in np.unique(values.classes[examples])]
        labels = np.stack(np.unique(values.labels, return_counts=True), axis=1) if right is not None else np.zeros((0, 2), np.int64)
        return cls(
            **sums_of(columns, members, clusters),
            right=None if right is None else sums_of({"right": right}, members, clusters)["right"],
            of_job=np.array([len(values.f), 0 if right is None else right.sum(), values.probabilities.sum()], np.float64),
            classes=np.array(pairs, np.int64).reshape(-1, 2),
            labels=labels,
            activation=activation,
        )

    def result(self) -> RangeResult:
        """Return the arrays by name."""
        sums = {name: getattr(self, name) for name in (*OF_CLUSTERS, "of_job")}
        sums |= {} if self.right is None else {"right": self.right}
        rows = {"classes": self.classes, "labels": self.labels, **extremes_arrays("activation", self.activation)}
        return RangeResult(sums, rows)

    @classmethod
    def from_result(cls, result: RangeResult) -> "ExampleSums":
        """Return the sums with the arrays that `result` gave. Raises KeyError if one is missing."""
        sums, rows = result.sums, result.rows
        named = {name: sums[name] for name in (*OF_CLUSTERS, "of_job")}
        classes, labels = np.unique(rows["classes"], axis=0), _counted(rows["labels"])
        return cls(**named, right=sums.get("right"), classes=classes, labels=labels, activation=extremes_from("activation", rows))

    def classes_of(self, cluster: int) -> int:
        """Return the number of classes for which the examples of a cluster are explained."""
        return int((self.classes[:, 0] == cluster).sum())


def _counted(labels: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, "labels 2"]:
    """Return each label once, with the sum of its counts."""
    values, label_of = np.unique(labels[:, 0], return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, label_of, labels[:, 1])
    return np.stack([values, counts], axis=1)


@dataclass(frozen=True)
class TotalSums:
    """Sums of the scores of one method over its units and the examples of each cluster."""

    total: Float[np.ndarray, " clusters"]
    """Σ over examples of the sum of the scores."""
    gap: Float[np.ndarray, " clusters"]
    """Σ over examples of |sum of the scores − (F(x) − F(x′))|."""

    @classmethod
    def of(cls, totals: np.ndarray, examples: ExampleValues, members: Mapping[int, np.ndarray], clusters: int) -> "TotalSums":
        """Return the sums of a range. `totals`: the sum of each example's scores."""
        gap = np.abs(totals - (examples.f - examples.f_baseline))
        return cls(**sums_of({"total": totals, "gap": gap}, members, clusters))


@dataclass(frozen=True)
class GapSums:
    """Sums of the gaps of one path method over the examples of each cluster.

    The last slot has the sums over the job's first examples.
    """

    sums: Float[np.ndarray, "6 slots"]

    @classmethod
    def of(cls, values: MethodValues, examples: ExampleValues, slots: Mapping[int, np.ndarray], count: int) -> "GapSums":
        """Return the sums of a range. `slots`: slot → its examples. `count`: number of slots."""
        gaps = values.path_gaps
        assert gaps is not None
        measured, whole = np.isfinite(gaps.hidden), np.abs(examples.f) + np.abs(examples.f_baseline)
        size = np.abs(examples.f - examples.f_baseline)
        summed = sums_of({"gap": gaps.gap, "change": gaps.change, "whole": whole}, slots, count)
        of_measured = {slot: members[measured[members]] for slot, members in slots.items()}
        hidden = sums_of({"hidden": gaps.hidden, "hidden_change": size, "hidden_whole": whole}, of_measured, count)
        return cls(np.stack([*summed.values(), *hidden.values()]))

    def relative(self, slot: int) -> tuple[float, float]:
        """Return Σ gap / Σ change over the examples of a slot, for the gap and the hidden gap.

        It is 0 where the change is rounding.
        """
        sums = dict(zip(GAPS, self.sums[:, slot].tolist(), strict=True))
        return (
            _relative(sums["gap"], sums["change"], sums["whole"]),
            _relative(sums["hidden"], sums["hidden_change"], sums["hidden_whole"]),
        )

    def relative_of_first(self) -> tuple[float, float]:
        """As `relative`, over the job's first examples."""
        return self.relative(self.sums.shape[1] - 1)


def _relative(gap: float, size: float, whole: float) -> float:
    return gap / size if size and size >= MIN_CHANGE * whole else 0.0


def under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with this prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
