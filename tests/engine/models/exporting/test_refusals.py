"""Each refusal names the line or layer of the user, says what to write, and quotes torch last."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting import export

pytestmark = pytest.mark.check


def refusal(module: Any, examples: Any, path: Path) -> EngineError:
    with pytest.raises(EngineError) as refused:
        export(module, examples, path / "net.pt2")
    assert not list(path.glob("*.pt2"))
    return refused.value


class Detached(nn.Module):
    """Divides by a norm that it reads as data."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        size = h.data.norm(dim=-1, keepdim=True)
        return h / size


class Packing(nn.Module):
    """Packs its rows before a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x.reshape(-1, 2, 2), torch.ones(len(x), dtype=torch.int64), batch_first=True)
        return self.lstm(packed)[1][0][-1]


class Force(nn.Module):
    """Returns the gradient of an energy."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            energy = self.a(x).tanh().sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0]


class Dropping(nn.Module):
    """Drops values in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(torch.relu(self.a(x)), 0.5)


class Averaging(nn.Module):
    """Normalises by the statistics of the batch in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(self.a(x), None, None, training=True)


class Failing(nn.Module):
    """Accepts no example without an end."""

    def forward(self, ids: Tensor) -> Tensor:
        if not bool((ids == 2).any()):
            raise ValueError("each example must have an end")
        return ids.float()


@pytest.mark.parametrize(
    ("module", "code", "line", "advice"),
    [
        (Detached(), "not_exportable", "size = h.data.norm(dim=-1, keepdim=True)", "write .detach() instead of .data"),
        (Force(), "not_exportable", "return torch.autograd.grad(energy", "gradients inside forward cannot be exported"),
        (Dropping(), "training_mode", "return nn.functional.dropout(", "dropout(x, p, training=self.training)"),
        (Averaging(), "training_mode", "return nn.functional.batch_norm(", "write training=self.training"),
        (Packing(), "not_exportable", "return self.lstm(packed)", "give the layer the padded batch"),
        (Failing(), "not_exportable", "raise ValueError(", "give example inputs on which the module itself runs"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_refusal_names_the_users_line_and_what_to_write(
    module: nn.Module, code: str, line: str, advice: str, tmp_path: Path
) -> None:
    lines, first = inspect.getsourcelines(type(module).forward)
    number = first + next(index for index, text in enumerate(lines) if line in text)

    refused = refusal(module, torch.ones(2, 4), tmp_path)

    assert refused.code == code
    assert f"{__file__}:{number}, in forward\n    {line}" in refused.detail
    assert advice in refused.detail


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def quantised() -> nn.Module:
    with pytest.warns():
        module: nn.Module = torch.ao.quantization.quantize_dynamic(layers(), {nn.Linear})
    return module


FLOATS = torch.zeros(2, 4)
CASES: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "no batch axis": (
        layers,
        torch.zeros(4),
        r"shape \[4\] without a batch axis\n(.*\n)*pass .*: write x.unsqueeze",
    ),
    "no batch axis of an image": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(-3), nn.Linear(144, 2)),
        torch.zeros(3, 8, 8),
        r"shape \[3, 8, 8\] without a batch axis",
    ),
    "sequence first": (lambda: nn.LSTM(4, 5), torch.zeros(7, 2, 4), "the LSTM takes the sequence on axis 0: .*batch_first=True"),
    "quantised": (quantised, FLOATS, r"layer '0' \(Linear\) is quantised: .*\nexport the float network"),
    "checkpoint": (
        lambda: {"epoch": 3, "model": layers().state_dict()},
        FLOATS,
        "a state dict holds weights and no network\n.*load_state_dict",
    ),
    "state dict": (lambda: layers().state_dict(), FLOATS, "a state dict holds weights and no network\n.*load_state_dict"),
    "class": (lambda: nn.Linear, FLOATS, "Linear is a class\ncreate the network first"),
    "function": (lambda: torch.relu, FLOATS, "write a torch.nn.Module whose forward calls it"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), FLOATS, "layer '0' .*has no sizes yet\nrun the network once"),
    "floats for ids": (
        lambda: nn.Embedding(5, 3),
        FLOATS,
        "does not run on the example inputs(.*\n)*an embedding takes integers",
    ),
    "integers for floats": (layers, FLOATS.long(), "does not run on the example inputs(.*\n)*.*in the type of the module's"),
    "ids outside": (lambda: nn.Embedding(5, 3), FLOATS.long() + 9, "give ids that each embedding has\n.*index out of range"),
    "no rows": (layers, torch.zeros(0, 4), "the example inputs have no rows"),
    "too many": (layers, (FLOATS, FLOATS), "give one tensor, a tuple in the order"),
}


@pytest.mark.parametrize("case", CASES)
def test_refusal_of_other_kinds_names_the_next_step(case: str, tmp_path: Path) -> None:
    make, examples, words = CASES[case]
    module = make()

    refused = refusal(module, examples, tmp_path)

    assert refused.code == "not_exportable"
    with pytest.raises(EngineError, match=words):
        raise refused


def test_refusal_of_a_layer_without_running_statistics_names_the_layer(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False))

    refused = refusal(module, FLOATS, tmp_path)

    assert refused.code == "training_mode"
    assert "layer '1' (BatchNorm1d) averages over the batch" in refused.detail
    assert "track_running_stats=True" in refused.detail


def test_refusal_of_torchscript_asks_for_the_module(tmp_path: Path) -> None:
    with pytest.warns():
        script = torch.jit.trace(layers(), FLOATS)

    refused = refusal(nn.Sequential(script), FLOATS, tmp_path)

    assert "layer '0' (TopLevelTracedModule) is TorchScript" in refused.detail
    assert "pass the torch.nn.Module that it was made from" in refused.detail


def test_refusal_of_a_file_names_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    torch.save(layers().state_dict(), file)

    refused = refusal(file, FLOATS, tmp_path)

    assert "net.pt is a file, not a torch.nn.Module" in refused.detail
    assert "weights without a network" in refused.detail


def test_refusal_by_torch_quotes_torch_last(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    refused = refusal(Branching(), FLOATS, tmp_path)

    assert "the code branches on values" in refused.detail
    assert refused.detail.splitlines()[-1].startswith('torch says: "')
