"""The allow-list of operators agrees with torch's own records about each operator."""

import math
import operator
from pathlib import Path

import pytest
import torch
from torch._export.serde.schema import SCHEMA_VERSION
from torch._export.serde.serialize import _SYM_OPS

from unitrank_engine.archive import ArchiveError, allow_operators, clean, load
from unitrank_engine.archive.description.operators import IN_PLACE, OPERATORS, check_operator
from unitrank_engine.archive.description.program import SCHEMA_MAJOR

# These draw random numbers only in training mode or with a dropout rate above 0, which the engine
# refuses with an error of its own.
DROPOUT = {"dropout", "dropout_", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "rrelu"}
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
FORBIDDEN = ("empty", "from_file", "resize", "_unsafe", "storage", "as_strided", "set_")
# With a free scale, its kernel writes outside its own memory.
OVERREACHING = "torch.ops.aten._upsample_bilinear2d_aa.default"
DROPS = DROPOUT | RECURRENT | {"scaled_dot_product_attention"}


def resolved(target: str) -> object:
    """The function that torch calls for this target."""
    root, *names = target.split(".")
    function: object = {"torch": torch, "_operator": operator, "math": math}[root]
    for name in names:
        function = getattr(function, name)
    return function


def is_safe(target: str) -> bool:
    """Whether the target is arithmetic on sizes, or an ATen operator without random numbers."""
    function = resolved(target)
    if not isinstance(function, torch._ops.OpOverload):
        return function in _SYM_OPS
    name = function._schema.name.removeprefix("aten::")
    random = torch.Tag.nondeterministic_seeded in function.tags and name not in DROPS
    return not random and not any(word in name for word in FORBIDDEN)


def changed_arguments(target: str) -> list[str]:
    """The names of the arguments that the operator writes into."""
    function = resolved(target)
    if not isinstance(function, torch._ops.OpOverload):
        return []
    return [each.name for each in function._schema.arguments if each.alias_info is not None and each.alias_info.is_write]


def test_listed_operators_are_deterministic_and_known_to_torch() -> None:
    """No listed operator is unknown, random, or able to reach foreign memory and files."""
    assert [target for target in sorted(OPERATORS) if not is_safe(target)] == []
    assert OVERREACHING not in OPERATORS


def test_in_place_operators_are_those_that_change_self_by_torchs_schema() -> None:
    changed = {target: changed_arguments(target) for target in OPERATORS}

    assert {target for target in OPERATORS if IN_PLACE.fullmatch(target)} == {target for target in OPERATORS if changed[target]}
    assert {name for names in changed.values() for name in names} == {"self"}


def test_check_operator_of_an_unsafe_view_gives_a_plain_one() -> None:
    """The unsafe view after a decomposed matrix product becomes a plain view."""
    assert check_operator("torch.ops.aten._unsafe_view.default") == "torch.ops.aten.view.default"


def test_schema_version_is_that_of_the_installed_torch() -> None:
    """This test fails first when a new torch describes programs differently."""
    assert SCHEMA_VERSION[0] == SCHEMA_MAJOR


class Rarely(torch.nn.Module):
    """Calls an operator that ordinary networks do not call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.spherical_bessel_j0(x)


def test_allow_operators_of_an_operator_lets_models_call_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may call an operator that the person who runs the service has added."""
    monkeypatch.setattr("unitrank_engine.archive.description.operators._added", set())
    exported = torch.export.export(Rarely(), (torch.ones(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(exported, tmp_path / "model.pt2")
    with pytest.raises(ArchiveError, match=r"UNITRANK_OPERATORS=aten\.special_spherical_bessel_j0\.default"):
        clean(tmp_path / "model.pt2", tmp_path / "clean")

    allow_operators(["aten.special_spherical_bessel_j0.default"])
    clean(tmp_path / "model.pt2", tmp_path / "clean")

    x = torch.randn(4, 3)
    torch.testing.assert_close(load(tmp_path / "clean").module()(x), torch.special.spherical_bessel_j0(x))


@pytest.mark.parametrize("name", ["aten.nothing.default", "aten.relu", "relu.default", "aten.relu.other", "", "os.system"])
def test_allow_operators_of_an_unknown_name_is_an_error(name: str) -> None:
    """A misspelt setting is an error at the start, not at the first model."""
    with pytest.raises(ValueError, match=r"aten\.<name>\.<overload>"):
        allow_operators([name])
