"""An exported network has the gradients of eager PyTorch, or its export is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.archive import load
from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting import export, gradients
from unitrank_engine.program import Program


class Reverse(torch.autograd.Function):
    """The gradient reversal of domain adaptation."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return -0.5 * g


class Swish(torch.autograd.Function):
    """A swish that saves memory: its backward is the true gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return g * (s + x * s * (1 - s))


class Forward(torch.autograd.Function):
    """Has no backward at all."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 1


class Net(nn.Module):
    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.act, self.b, self.step = nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), step

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.step(self.act(self.a(x))))


class Words(nn.Module):
    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.words, self.head, self.step = nn.Embedding(9, 5), nn.Linear(5, 3), step
        self.head_of_words = nn.Linear(5, 9, bias=False)
        self.head_of_words.weight = self.words.weight

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        h = self.step(self.words(ids).mean(1))
        return self.head(h), self.head_of_words(h)


def hooked(change: Callable[[Tensor], Tensor | None]) -> Callable[[Tensor], Tensor]:
    def step(h: Tensor) -> Tensor:
        h.register_hook(change)
        return h * 1

    return step


def gated(h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(h.sum(-1, keepdim=True))
    return h * gate


def gated_in_autocast(h: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        gate = torch.sigmoid(h.sum(-1, keepdim=True))
    return h * gate


def doubled_in_place(h: Tensor) -> Tensor:
    h = h * 1
    with torch.no_grad():
        h.mul_(2)
    return h


def under_inference_mode(h: Tensor) -> Tensor:
    with torch.inference_mode():
        gate = h.sum(-1, keepdim=True) * 2
    return h + gate


ROWS = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[1, 2, 3], [4, 5, 8]])


def refusal(module: nn.Module, inputs: Tensor, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    with pytest.raises(EngineError) as error:
        export(module, inputs, folder / "net.pt2")
    assert error.value.code == "not_exportable"
    assert not (folder / "net.pt2").exists()
    return error.value.detail


@pytest.mark.parametrize("step", [gated, gated_in_autocast, Swish.apply, hooked(lambda g: None)])
@pytest.mark.check
def test_export_when_the_gradients_are_those_of_the_forward_pass_then_is_checked(
    step: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, x = Net(step), torch.randn(4, 6, requires_grad=True)
    manifest = export(module, ROWS, tmp_path / "net.pt2")
    (output,) = Program.from_exported(load(tmp_path / "net.pt2")).module(x)
    gradient, expected = (torch.autograd.grad(y[:, 1].sum(), x)[0] for y in (output, module(x)))

    assert manifest.gradients == "checked"
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.check
def test_export_when_the_inputs_are_ids_then_the_parameters_carry_the_comparison(frozen: bool, tmp_path: Path) -> None:
    manifest = export(Words(gated).requires_grad_(not frozen), IDS, tmp_path / "net.pt2")
    detail = refusal(Words(Reverse.apply).requires_grad_(not frozen), IDS, tmp_path / "refused")

    assert manifest.gradients == "checked"
    assert "class Reverse" in detail


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (Reverse.apply, "the backward of class Reverse at "),
        (hooked(lambda g: g * 2), "a hook on a tensor at "),
        # The hook limits large gradients only.
        (hooked(lambda g: g.clamp(-9, 9)), "a hook on a tensor at "),
        (doubled_in_place, "changed in place under torch.no_grad()"),
    ],
)
def test_export_when_gradients_are_changed_on_their_way_then_names_the_place(
    step: Callable[[Tensor], Tensor], cause: str, tmp_path: Path
) -> None:
    detail = refusal(Net(step), ROWS, tmp_path)

    assert cause in detail
    assert (f"{__file__}:" in detail) is (" at " in cause)
    assert "g + (f - g).detach()" in detail


@pytest.mark.check
def test_export_when_a_module_hook_changes_gradients_then_names_the_module(tmp_path: Path) -> None:
    full, before = Net(torch.relu), Net(torch.relu)
    full.act.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 2,))
    before.act.register_full_backward_pre_hook(lambda module, outputs: (outputs[0] * 2,))

    for module in (full, before):
        assert f"a backward hook on module 'act' (Tanh) at {__file__}:" in refusal(module, ROWS, tmp_path)


@pytest.mark.check
def test_export_when_a_module_hook_only_observes_then_is_checked_and_keeps_the_hook(tmp_path: Path) -> None:
    module, plain, seen = Net(torch.relu), Net(torch.relu), list[Tensor]()
    plain.load_state_dict(module.state_dict())
    module.act.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    manifest = export(module, ROWS, tmp_path / "net.pt2")
    export(plain, ROWS, tmp_path / "plain.pt2")
    before = len(seen)
    module(ROWS).sum().backward()

    assert manifest.gradients == "checked"
    assert len(seen) == before + 1
    assert (tmp_path / "net.pt2").read_bytes() == (tmp_path / "plain.pt2").read_bytes()


@pytest.mark.check
def test_export_when_a_parameter_has_a_hook_then_it_does_not_count(tmp_path: Path) -> None:
    """No method uses the gradient of a parameter; masks of fine-tuning are such hooks."""
    module = Net(torch.relu)
    module.a.weight.register_hook(lambda g: g * 0)

    assert export(module, ROWS, tmp_path / "net.pt2").gradients == "checked"


@pytest.mark.check
def test_export_when_parameters_are_frozen_then_leaves_them_frozen(tmp_path: Path) -> None:
    module = Net(torch.relu)
    module.a.requires_grad_(False)
    before = {name: p.requires_grad for name, p in module.named_parameters()}
    with torch.no_grad():
        export(module, ROWS, tmp_path / "net.pt2")
    refusal(Net(Reverse.apply).requires_grad_(False), ROWS, tmp_path / "refused")

    assert {name: p.requires_grad for name, p in module.named_parameters()} == before
    assert all(p.grad is None for p in module.parameters())


def test_export_when_a_region_is_under_inference_mode_then_names_its_line(tmp_path: Path) -> None:
    detail = refusal(Net(under_inference_mode), ROWS, tmp_path)

    assert "torch.inference_mode()" in detail
    assert "gate = h.sum(-1, keepdim=True) * 2" in detail


@pytest.mark.check
def test_export_when_the_caller_is_under_inference_mode_then_is_checked(tmp_path: Path) -> None:
    module = Net(gated)
    with torch.inference_mode():
        assert export(module, ROWS.clone(), tmp_path / "net.pt2").gradients == "checked"


@pytest.mark.check
def test_export_when_the_module_has_no_backward_then_warns_and_is_unknown(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="has no gradients in eager PyTorch"):
        manifest = export(Net(Forward.apply), ROWS, tmp_path / "net.pt2")

    assert manifest.gradients == "unknown"


@pytest.mark.check
def test_export_of_a_module_under_no_grad_has_no_place_for_gradients(tmp_path: Path) -> None:
    class Silent(Net):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    manifest = export(Silent(torch.relu), ROWS, tmp_path / "net.pt2")

    assert (manifest.gradients, manifest.differentiable) == ("checked", False)


@pytest.mark.check
def test_export_when_rounding_is_large_then_gradients_are_compared_in_double_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an impossible limit in single precision, the comparison in double precision decides."""
    monkeypatch.setitem(gradients.CLOSE, torch.float32, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest = export(
            nn.Sequential(nn.Conv1d(6, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(28, 2)), torch.randn(2, 6, 9), tmp_path / "net.pt2"
        )

    assert manifest.gradients == "checked"
    assert "class Reverse" in refusal(Net(Reverse.apply), ROWS, tmp_path / "refused")
