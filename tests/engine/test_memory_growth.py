"""A job's peak memory does not grow with its examples, steps or permutations.

The jobs that are compared have a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.peaks import DISTINCT

ROOT = Path(__file__).parents[2]
MOST_GROWTH = 1.1
# Freed memory returns to the system at once, so that the process's memory is the job's.
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells a process's own pages from those of files"),
]


def peaks(*runs: tuple[int, dict[str, Any]]) -> list[int]:
    """Peak bytes of jobs, each above those after a job with few examples.

    A run is a number of examples and the options of its job.
    """
    words = [sys.executable, "-W", "ignore", "-m", "tests.engine.peaks", json.dumps(runs)]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | ALLOCATOR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def path(name: str, steps: int = 4, **options: Any) -> dict[str, Any]:
    return {"name": name, "steps": steps, **options}


PATHS = [path("conductance"), path("integrated_gradients"), path("internal_influence")]
ENDS = ["activation", "gradient", "gradient_x_activation", "gradient_x_delta", "grad_cam", "random"]
SELF_DRIVEN = ["deeplift", {"name": "gradient", "noise": {"samples": 3}}, path("conductance", 2, tolerance=0.05)]


KMEANS = {"by": "kmeans", "k": 3, "layer": "input"}


@pytest.mark.parametrize(
    ("examples", "options"),
    [
        # 40 examples in each cluster: a bootstrap keeps sums of at most 32 groups of a cluster.
        pytest.param(120, {"methods": ["grad_cam", *PATHS[:2]], "clusters": {"by": "label"}}, id="paths"),
        pytest.param(120, {"methods": [*ENDS, *PATHS], "clusters": {"by": "label"}}, id="all methods", marks=pytest.mark.slow),
        pytest.param(
            120,
            {
                "methods": ["gradient"],
                "ablation": {"fill": "resample", "random": 3, "examples": DISTINCT},
                "fidelity": {"select": "top", "fill": "mean"},
            },
            id="fills",
            marks=pytest.mark.slow,
        ),
        pytest.param(120, {"methods": SELF_DRIVEN, "ablation": None}, id="self-driven", marks=pytest.mark.slow),
    ],
)
def test_peak_when_examples_are_ten_times_as_many_then_is_the_same(examples: int, options: dict[str, Any]) -> None:
    few, many = peaks((examples, options), (10 * examples, options))

    assert many <= MOST_GROWTH * few, (few, many)


@pytest.mark.slow
def test_peak_when_kmeans_has_twice_as_many_examples_then_is_the_same() -> None:
    options = {"methods": ["gradient"], "clusters": KMEANS, "baseline": {"kind": "cluster_mean"}, "ablation": None}

    # Both jobs have many ranges of rows. With one to four ranges fewer sums are held at a time.
    few, many = peaks((24_000, options), (48_000, options))

    assert many <= MOST_GROWTH * few, (few, many)


def test_peak_when_steps_are_ten_times_as_many_then_is_the_same() -> None:
    few, many = peaks(*((30, {"methods": [path(method["name"], steps) for method in PATHS]}) for steps in (4, 40)))

    assert many <= MOST_GROWTH * few, (few, many)


@pytest.mark.slow
def test_peak_when_baselines_are_five_times_as_many_then_is_the_same() -> None:
    methods = ["gradient_x_delta", "deeplift", {"name": "deeplift", "rules": "rescale", "id": "rescale"}, path("conductance", 2)]
    # The sums of single baselines are small, because channels are few.
    options = {"methods": methods, "units": "channel", "ablation": None}

    few, many = peaks(*((60, options | {"baseline": {"kind": "examples", "count": count}}) for count in (3, 15)))

    assert many <= MOST_GROWTH * few, (few, many)


@pytest.mark.slow
def test_peak_when_permutations_are_ten_times_as_many_then_is_the_same() -> None:
    methods = ([{"name": "shapley", "permutations": permutations}] for permutations in (8, 80))

    few, many = peaks(*((20, {"units": "channel", "methods": each, "ablation": None}) for each in methods))

    assert many <= MOST_GROWTH * few, (few, many)
