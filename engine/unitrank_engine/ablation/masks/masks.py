"""Masks of the controls and of the rankings, each of which runs once."""

import numpy as np

from unitrank_engine.ablation.masks.mask_runner import STAGE, ClusterTest, MaskRunner, MaskSums


class Masks:
    """The masks of the controls and of the rankings over one batch of test examples.

    `controls`: in each row an order, as the position of each unit; the random orders come first.
    `random`: the number of random orders.

    Masks that replace the same values run once and share the result. Two runs would round
    differently, so that equal orders would no longer tie. The controls' passes contain no ranking,
    and a ranking's passes contain no other ranking: no sum depends on the job's other rankings.
    """

    def __init__(self, runner: MaskRunner, tests: ClusterTest, controls: np.ndarray, random: int) -> None:
        self.runner = runner
        self.tests = tests
        self._controls = controls
        self._random = random
        self._counts = runner.counts
        self._limits = np.array(self._counts, dtype=np.int32)[:, None]
        changeable = runner.context.units.reduce((tests.h != tests.fill).float()).any(0).cpu().numpy()
        self._changeable = changeable
        """Whether a unit differs from its fill in some example."""
        ends = [np.packbits(np.zeros_like(changeable)).tobytes(), np.packbits(changeable).tobytes()]
        self._control_indices: dict[bytes, int] = {}
        """Key of a mask → index of the first mask of the controls with that key."""
        self._keys = [*ends, *self._keys_of(controls)]
        for index, key in enumerate(self._keys):
            self._control_indices.setdefault(key, index)

    def controls(self) -> list[MaskSums]:
        """Return the sums of: no unit replaced, all replaced, then each control at each count.

        Each target of the tests has its sums.
        """
        masks = [(0, 0), (0, self.runner.context.units.count), *self._pairs(len(self._controls))]
        run_masks = sorted(self._control_indices.values())
        run_number = {index: number for number, index in enumerate(run_masks)}
        run_of_mask = [run_number[self._control_indices[key]] for key in self._keys]
        random_runs = sum(index < 2 + self._random * len(self._counts) for index in run_masks)
        chosen = [masks[index] for index in run_masks]
        ends = max(run_of_mask[:2]) + 1
        # Any order gives the masks of no unit and of all units, also where there are no controls.
        positions = self._controls if len(self._controls) else np.zeros((1, len(self._changeable)), dtype=np.int32)
        random_masks = run_of_mask[2 : 2 + self._random * len(self._counts)]
        weights = np.bincount(random_masks, minlength=len(chosen)) / max(1, len(random_masks))
        runs = self.runner.run(self.tests, positions, chosen, bounds=[random_runs], single=ends, weights=weights)
        self._skip(len(masks) - len(run_masks))
        return [_of_masks(sums, run_of_mask) for sums in runs]

    def ranking(self, positions: np.ndarray, controls: MaskSums, *, single: int = 0) -> MaskSums:
        """Return the sums of each of a ranking's orders at each count; the tests have one target.

        `positions`: in each row an order, as the position of each unit.
        `controls`: the sums of the controls on this batch.
        `single`: the number of orders, from the first one, whose values of single examples and
            numbers of newly wrong examples are kept. Their masks always run, also where the
            controls have the sums.
        """
        pairs, run_number = self._pairs(len(positions)), dict[bytes, int]()
        run_masks: list[int] = []
        keys, kept = self._keys_of(positions), single * len(self._counts)
        for index, key in enumerate(keys):
            runs = index < kept or key not in self._control_indices
            if runs and run_number.setdefault(key, len(run_number)) == len(run_masks):
                run_masks.append(index)
        kept_runs = sum(index < kept for index in run_masks)
        chosen = [pairs[index] for index in run_masks]
        (sums,) = self.runner.run(self.tests, positions, chosen, bounds=[kept_runs], single=kept_runs)
        self._skip(len(pairs) - len(run_masks))
        assert sums.values is not None
        values = sums.values[[run_number[key] for key in keys[:kept]]]
        sources = [
            (controls, self._control_indices[key]) if key in self._control_indices else (sums, run_number[key]) for key in keys
        ]
        score = np.array([source.score[index] for source, index in sources])
        right = newly_wrong = None
        if controls.right is not None and sums.newly_wrong is not None:
            right = np.array([source.right[index] for source, index in sources if source.right is not None])
            newly_wrong = sums.newly_wrong[[run_number[key] for key in keys[:kept]]]
        return MaskSums(score, right, newly_wrong, values=values)

    def _keys_of(self, positions: np.ndarray) -> list[bytes]:
        """Return a key for each order and count: the bits of the units whose values change."""
        rows = [np.packbits((order < self._limits) & self._changeable, axis=1) for order in positions]
        return [key.tobytes() for of_order in rows for key in of_order]

    def _pairs(self, orders: int) -> list[tuple[int, int]]:
        return [(order, count) for order in range(orders) for count in self._counts]

    def _skip(self, masks: int) -> None:
        """Advance the progress by masks that share another mask's run."""
        if masks:
            self.runner.context.meter.advance(STAGE, len(self.tests.h) * masks)


def _of_masks(sums: MaskSums, run_of_mask: list[int]) -> MaskSums:
    """Return the controls' sums from those of the runs.

    Their values are those of the first two masks, and the mean over the random orders.

    `run_of_mask`: for each mask the number of its run.
    """
    assert sums.values is not None
    right = None if sums.right is None else sums.right[run_of_mask]
    return MaskSums(sums.score[run_of_mask], right, magnitude=sums.magnitude, values=sums.values[[*run_of_mask[:2], -1]])
