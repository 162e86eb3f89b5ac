"""The fuzz of operators finds known faults when the checks are off, and none with the checks."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest
from benchmarks import operators
from benchmarks.support.attempts import attempt
from benchmarks.support.guard import build, preloaded
from benchmarks.support.serving import Answering

from tests.attacks.memory import NETWORKS, save
from tests.mutants.operators.table import CALLS
from unitrank_engine.archive.description.operators import OPERATORS
from unitrank_engine.program import functional, program
from unitrank_engine.program.proof.proving_run import ProvingRun

NAMES = list(NETWORKS)
HARMLESS = {"circular_pad_of_more_than_is_left", "lstm_with_one_short_bias"}
"""These are refused too, but torch has no fault: it raises an error, and adds the two biases."""
FOUND = {"circular_pad_of_all", "embedding_bag_with_offsets_that_go_back", "index_that_is_traced_as_one_number"}
"""Faults that `make check` finds without the checks; `make slow` finds all."""
pytestmark = pytest.mark.check


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is not on PATH")
        pytest.skip("needs gcc")
    return build(tmp_path_factory.mktemp("guard"))


def prepare(checked: bool, folder: Path) -> Callable[[int], str]:
    """Returns the function that runs a known hostile network by its number."""
    operators.prepare(operators.Run(0, folder, 1), folder)
    if not checked:
        functional.REWRITES = {}
        program.check_shapes = program.check_positions = program.prove = lambda *arguments: None
        ProvingRun._compare = lambda *arguments: None

    def answer(number: int) -> str:
        save(NETWORKS[NAMES[number]][0], str(folder / "upload"))
        return attempt(folder / "upload", folder / "clean", Random(number))

    return answer


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FOUND else pytest.mark.slow) for name in sorted(NETWORKS.keys() - HARMLESS)]
)
def test_a_known_fault_without_the_checks_is_a_finding(name: str, library: Path) -> None:
    with Answering(prepare, False, limit=120, starting=partial(preloaded, library)) as process:
        assert process.ask(NAMES.index(name)).startswith("FINDING")


def test_a_known_fault_with_the_checks_is_refused(library: Path) -> None:
    with Answering(prepare, True, limit=120, starting=partial(preloaded, library)) as process:
        answers = {name: process.ask(number) for number, name in enumerate(NAMES)}

    assert {name: answer.partition(":")[0] for name, answer in answers.items()} == {
        name: f"refused {code}" for name, (_, code) in NETWORKS.items()
    }


def test_each_operator_of_the_list_has_a_call() -> None:
    unused = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")
    names = {name.removeprefix("torch.ops.aten.") for name in OPERATORS if name.startswith("torch.ops.aten.")}

    assert CALLS.keys() == names - {f"{name}.default" for name in unused}
