"""Installed architectures are built and filled with weights that must match exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from tests.support.environments.architecture import install
from unitrank_engine.archive import load
from unitrank_engine.errors import EngineError
from unitrank_engine.models.architectures import build, inspect
from unitrank_engine.program import Program
from unitrank_schemas.models import Architecture, Manifest


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "installed")))


def _network(inputs: int = 4, hidden: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def _weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any] = lambda state: None, **sizes: int) -> Path:
    state = dict(_network(**sizes).state_dict())
    change(state)
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_inspect_gives_a_manifest_and_an_archive_with_the_weights(tmp_path: Path) -> None:
    architecture = Architecture(name="perceptron", arguments={"hidden": 16})

    manifest = Manifest.model_validate(inspect(architecture, _weights(tmp_path, hidden=16), tmp_path / "clean"))

    assert [(layer.name, layer.units) for layer in manifest.layers] == [("input", 4), ("0", 16), ("1", 16), ("2", 3)]
    x = torch.randn(5, 4)
    torch.testing.assert_close(Program.from_exported(load(tmp_path / "clean")).forward((x,), "output"), _network(hidden=16)(x))


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("resnet", {}, "architecture_not_found", "installed: perceptron"),
        ("perceptron", {"depth": 3}, "architecture_refused", "unexpected keyword argument 'depth'"),
        ("perceptron", {"hidden": 0}, "architecture_refused", "must be from 1 to 4096"),
        ("perceptron", {"hidden": "many"}, "architecture_refused", "TypeError"),
    ],
)
def test_build_when_the_architecture_is_missing_or_takes_other_arguments_then_names_the_reason(
    name: str, arguments: dict[str, Any], code: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError) as caught:
        build(name, arguments, _weights(tmp_path))

    assert caught.value.code == code
    assert message in caught.value.detail


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), "1 missing: 0.bias"),
        (lambda state: state.update({"3.weight": torch.ones(2)}), "1 unknown: 3.weight"),
        (lambda state: state.update({"2.bias": torch.ones(4)}), "1 of another shape: 2.bias [4] instead of [3]"),
        (lambda state: state.clear(), "4 missing: 0.weight, 0.bias, 2.weight, 2.bias"),
    ],
)
def test_build_with_other_weights_lists_them(
    change: Callable[[dict[str, torch.Tensor]], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError) as caught:
        build("perceptron", {}, _weights(tmp_path, change))

    assert caught.value.code == "weights_refused"
    assert message in caught.value.detail


def test_build_when_the_bytes_are_not_weights_then_names_the_reason(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 100)

    with pytest.raises(EngineError, match="not a safetensors file"):
        build("perceptron", {}, tmp_path / "weights")


class Tied(nn.Module):
    """Uses one tensor in its embedding and its head, and has a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("places", torch.arange(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.places)


def test_build_of_tied_weights_takes_them_under_one_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    trained = Tied()
    save_model(trained, str(tmp_path / "weights"))
    monkeypatch.setattr("perceptron_architecture.perceptron", lambda: (Tied(), torch.zeros(1, 3)))

    built = build("perceptron", {}, tmp_path / "weights")

    x = torch.randn(4, 3)
    torch.testing.assert_close(built.module(x), trained(x))
