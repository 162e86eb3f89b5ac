"""An archive whose operators would read or write memory outside their tensors is refused."""

from pathlib import Path

import pytest

from tests.attacks.memory import NETWORKS, save
from unitrank_engine.errors import EngineError
from unitrank_engine.models.inspection import inspect


@pytest.mark.parametrize("name", list(NETWORKS))
def test_an_archive_when_an_operator_would_leave_its_memory_then_is_refused(name: str, tmp_path: Path) -> None:
    network, code = NETWORKS[name]
    save(network, str(tmp_path / "model.pt2"))

    with pytest.raises(EngineError) as refusal:
        inspect(tmp_path / "model.pt2", tmp_path / "clean")

    assert refusal.value.code == code
    assert refusal.value.detail.isprintable()
