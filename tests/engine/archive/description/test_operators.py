"""The list of operators against torch's own words about them."""

import math
import operator
from pathlib import Path

import pytest
import torch
from torch._export.serde.schema import SCHEMA_VERSION
from torch._export.serde.serialize import _SYM_OPS

from unitrank_engine.archive import ArchiveError, clean, let_in, load
from unitrank_engine.archive.description.operators import OPERATORS, check_operator
from unitrank_engine.archive.description.program import SCHEMA_MAJOR

# They draw random numbers only when they are told to train, or with a rate of dropout: the engine refuses that with its own words.
DROPOUT = {"dropout", "dropout_", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
FORBIDDEN = ("empty", "from_file", "resize", "_unsafe", "storage", "as_strided", "set_")
# A free scale lets its kernel write outside of its own memory.
OVERREACHING = "torch.ops.aten._upsample_bilinear2d_aa.default"
DROPS = DROPOUT | RECURRENT | {"scaled_dot_product_attention"}


def resolved(target: str) -> object:
    """What torch would call."""
    root, *names = target.split(".")
    found: object = {"torch": torch, "_operator": operator, "math": math}[root]
    for name in names:
        found = getattr(found, name)
    return found


def is_safe(target: str) -> bool:
    """Whether it is an ATen operator without randomness of its own, or arithmetic on sizes."""
    found = resolved(target)
    if not isinstance(found, torch._ops.OpOverload):
        return found in _SYM_OPS
    name = found._schema.name.removeprefix("aten::")
    random = torch.Tag.nondeterministic_seeded in found.tags and name not in DROPS
    return not random and not any(word in name for word in FORBIDDEN)


def test_listed_operators_are_deterministic_and_known_to_torch() -> None:
    """No name on the list is unknown, random by itself or able to reach memory and files that are not its own."""
    assert [target for target in sorted(OPERATORS) if not is_safe(target)] == []
    assert OVERREACHING not in OPERATORS


def test_check_operator_of_an_unsafe_view_gives_a_plain_one() -> None:
    """What decomposing leaves after a matrix product is written as the view that it is."""
    assert check_operator("torch.ops.aten._unsafe_view.default") == "torch.ops.aten.view.default"


def test_schema_version_is_that_of_the_installed_torch() -> None:
    """A new torch with another description of programs is noticed here first."""
    assert SCHEMA_VERSION[0] == SCHEMA_MAJOR


class Rarely(torch.nn.Module):
    """Calls what ordinary networks do not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0e(x)


def test_let_in_of_an_operator_lets_models_call_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the service trusts it."""
    monkeypatch.setattr("unitrank_engine.archive.description.operators._added", set())
    exported = torch.export.export(Rarely(), (torch.ones(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(exported, tmp_path / "model.pt2")
    with pytest.raises(ArchiveError, match="UNITRANK_OPERATORS"):
        clean(tmp_path / "model.pt2", tmp_path / "clean")

    let_in(["aten.special_i0e.default"])
    clean(tmp_path / "model.pt2", tmp_path / "clean")

    x = torch.randn(4, 3)
    torch.testing.assert_close(load(tmp_path / "clean").module()(x), torch.special.i0e(x))


@pytest.mark.parametrize("name", ["aten.nothing.default", "aten.relu", "relu.default", "aten.relu.other", "", "os.system"])
def test_let_in_of_what_torch_does_not_know_says_so(name: str) -> None:
    """A misspelt setting is told at the start and not at the first model."""
    with pytest.raises(ValueError, match=r"aten\.<name>\.<overload>"):
        let_in([name])
