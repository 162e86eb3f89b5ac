"""All nodes of a job ask for parts in the same order, also where their sets differ in order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine.in_process import rank
from tests.engine.nets import net_of, program
from unitrank_tables.part import Part

OPEN: list[dict[str, Any]] = [{"name": "conductance", "steps": steps, "id": f"c{steps}"} for steps in (3, 4, 5, 6, 7, 8)]
"""Methods whose spacing is left open."""


class Stop(Exception):
    """Ends a job at its first question."""


class Asked:
    """Notes the fingerprints of the first question of a job, and ends the job."""

    fingerprints: Sequence[str]

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        self.fingerprints = fingerprints
        raise Stop

    def put(self, parts: Mapping[str, Part]) -> None:
        raise AssertionError("the job has no part")


def first_question(folder: Path, methods: list[dict[str, Any]]) -> list[str]:
    asked, x = Asked(), net_of("convolutional").examples(4).numpy()
    with pytest.raises(Stop):
        rank(program("convolutional"), folder, {"x": x}, "features.2", methods, parts=asked)
    return list(asked.fingerprints)


def test_job_when_spacings_are_open_then_asks_for_their_parts_in_the_order_of_the_methods(tmp_path: Path) -> None:
    alone = [first_question(tmp_path, [method]) for method in OPEN]

    asked = first_question(tmp_path, OPEN)

    assert asked == [fingerprint for each in alone for fingerprint in each]
    assert len(set(asked)) == len(OPEN)
