"""The examples that a result keeps for a unit: those with its largest and smallest values."""

KEPT = 3
"""Examples with the largest, and with the smallest, value that are kept."""
LISTS = ("score_largest", "score_smallest", "activation_largest", "activation_smallest")
"""The lists of examples that a result has for a unit, in the order of the array's axis."""
MOST_FOLLOWED = 2**16
"""Units of all clusters together whose examples a job follows."""
MOST_FOLLOWED_OF_CLASSES = 2**14
"""The same for a job that explains every class, for units of all classes. Its classes share passes,
so that following more units took 10 to 16 % of its time.
"""
MOST_UNITS = 4096
"""Units of all clusters and rankings together for which a result keeps examples: about 0.6 MB."""
TOP = 20
"""Units of a ranking that have examples at least; with fewer, a result keeps none."""


def are_followed(*, clusters: int, units: int, classes: int) -> bool:
    """Whether a job follows the examples of each unit."""
    return clusters * units * classes <= (MOST_FOLLOWED if classes == 1 else MOST_FOLLOWED_OF_CLASSES)


def units_with_examples(*, rankings: int, clusters: int, units: int, classes: int) -> int:
    """The number of units of each ranking and cluster for which a result keeps examples.

    They are the units with the highest importance.
    """
    kept = min(units, MOST_UNITS // max(1, rankings * clusters))
    followed = are_followed(clusters=clusters, units=units, classes=classes)
    return kept if followed and kept >= min(TOP, units) else 0
