"""How many of the least important units can be replaced without new wrong answers."""

from collections.abc import Sequence

from scipy import stats


def upper_limit(wrong: int, examples: int, level: float) -> float:
    """Return the one-sided Clopper–Pearson limit of a share, from `wrong` of `examples`.

    The true share is below the limit in at least the share `level` of all samples.

    >>> round(upper_limit(0, 299, level=0.95), 4)
    0.01
    """
    return 1.0 if wrong >= examples else float(stats.beta.ppf(level, wrong + 1, examples - wrong))


def removable_at(counts: Sequence[int], newly_wrong: Sequence[int], *, examples: int, level: float, tolerance: float) -> int | None:
    """Return the largest count up to which the share of newly wrong examples is small.

    The counts are taken in ascending order, until the upper limit of the share exceeds `tolerance`.
    0 where the limit exceeds it at the first count. None where no count could pass: with so few
    examples, the limit exceeds `tolerance` even without a newly wrong example.

    `counts`: numbers of replaced units of the order `least`, ascending.
    `newly_wrong`: examples at each count that were right with no unit replaced, and now are wrong.
    `examples`: number of test examples, right or wrong.
    `level`: the confidence level of the limit, such as 0.95.
    `tolerance`: the largest share of examples that may become wrong, such as 0.01.

    >>> removable_at([10, 50, 90], [0, 1, 30], examples=500, level=0.95, tolerance=0.01)
    50
    """
    if examples == 0 or (1 - level) ** (1 / examples) < 1 - tolerance:
        return None
    largest = 0
    for count, wrong in zip(counts, newly_wrong, strict=True):
        if upper_limit(wrong, examples, level) > tolerance:
            break
        largest = count
    return largest
