"""The refusal of an operator says why, in the user's terms, and what to write."""

import pytest

from unitrank_engine.archive import ArchiveError
from unitrank_engine.archive.description.operators import OPERATORS, check_operator
from unitrank_engine.archive.description.reasons import _REASONS, reason, spelling

REFUSED = {
    "aten.rand.default": ("torch.rand", "random numbers"),
    "aten.bernoulli_.float": ("Tensor.bernoulli_", "random numbers"),
    "aten.nonzero.default": ("torch.nonzero", "torch.where"),
    "aten._unique2.default": ("", "torch.where"),
    "aten.item.default": ("torch.item", "compute with tensors"),
    "aten.as_strided.default": ("torch.as_strided", "slices, reshape"),
    "aten.view.dtype": ("torch.view", r".to(dtype)"),
    "aten.linalg_eigvals.default": ("torch.linalg.eigvals", "torch.linalg.eigh"),
    "aten.linalg_lu.default": ("torch.linalg.lu", "torch.linalg.solve"),
    "aten.cross_entropy_loss.default": ("torch.cross_entropy_loss", "logits"),
    "aten.embedding_renorm_.default": ("Tensor.embedding_renorm_", "max_norm"),
    "aten.special_bessel_j0.default": ("torch.special.bessel_j0", "no derivative"),
    "aten.quantize_per_tensor.default": ("torch.quantize_per_tensor", "before it is quantised"),
    "mylib.op.default": ("", "functions of torch"),
    "higher_order.cond": ("", "run_decompositions"),
    "aten.native_channel_shuffle.default": (
        "torch.native_channel_shuffle",
        "UNITRANK_OPERATORS=aten.native_channel_shuffle.default",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_operator_is_named_with_its_reason_and_the_next_step(name: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        check_operator(f"torch.ops.{name}")

    assert caught.value.code == "operator_refused"
    assert all(part in caught.value.detail for part in (f"'torch.ops.{name}'", *REFUSED[name]))


def test_no_operator_of_the_list_has_a_reason_for_its_refusal() -> None:
    ends = tuple(text for text in _REASONS.values())
    named = {target for target in OPERATORS if target.startswith("torch.ops.aten.") and reason(target).startswith(ends)}

    assert named == set()


def test_an_operator_without_a_name_in_torch_is_spelled_as_nothing() -> None:
    assert [spelling(f"torch.ops.{name}") for name in ("aten._private.default", "mylib.op.default")] == ["", ""]
