"""A damaged archive gives a program or an ArchiveError; `make fuzz` tries more of them."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mutants.archives import MUTATORS
from unitrank_engine.archive import ArchiveError, clean, load

FEW = settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# sympy warns about an expression that torch refuses.
@pytest.mark.filterwarnings("ignore:(?s).*Using non-Expr arguments")
@pytest.mark.parametrize("name", MUTATORS)
@FEW
@given(random=st.randoms(use_true_random=False))
def test_clean_and_load_of_a_mutant_raise_nothing_but_archive_errors(
    name: str, saved: Path, tmp_path: Path, random: Random
) -> None:
    """torch builds or refuses each archive that passes the vetting."""
    (tmp_path / "mutant").write_bytes(MUTATORS[name](random, saved.read_bytes()))

    with suppress(ArchiveError):
        clean(tmp_path / "mutant", tmp_path / "clean")
        load(tmp_path / "clean")
