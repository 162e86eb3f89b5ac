"""A changed table is read or raises BadTable, never another error.

`make fuzz` tries more changes.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mutants import Mutator
from tests.mutants.tables import NPZ, SAFETENSORS, npz, safetensors
from unitrank_tables import open_table
from unitrank_tables.errors import BadTable

CASES = [
    *(
        pytest.param(partial(npz, packed=packed), mutator, id=f"{name}-{packed=}")
        for packed in (False, True)
        for name, mutator in NPZ.items()
    ),
    *(pytest.param(safetensors, mutator, id=f"safetensors-{name}") for name, mutator in SAFETENSORS.items()),
]


@pytest.mark.parametrize(("honest", "mutator"), CASES)
@settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False))
def test_a_mutant_when_opened_and_read_raises_nothing_but_bad_table(
    tmp_path: Path, honest: Callable[[], bytes], mutator: Mutator, random: Random
) -> None:
    (tmp_path / "mutant").write_bytes(mutator(random, honest()))

    with suppress(BadTable), open_table(tmp_path / "mutant") as table:
        for field in table.fields:
            table.read(field, slice(None))
