"""`unitrank.export`: the archive, and the error that names the line of the network."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import unitrank
from tests.engine.archive.forging import entries_of
from tests.support.transformers import BERT, saved
from unitrank.cli.commands.export import export_model
from unitrank.errors import NotPossible
from unitrank_engine.archive import clean, load
from unitrank_engine.archive.mark import MARK
from unitrank_engine.program import Program

pytestmark = pytest.mark.check


class Net(nn.Module):
    """A network with a region without gradients, a dropout, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(3, 2), nn.Dropout()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            mean = x.mean(1, keepdim=True)
        return {"logits": self.linear(self.dropout(x - mean)), "mean": mean}


class Doing(nn.Module):
    """Calls a function after a linear layer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.linear(x))


def test_export_writes_an_archive_that_the_service_accepts_for_any_batch(tmp_path: Path) -> None:
    net = Net()
    x = torch.randn(5, 3)

    manifest = unitrank.export(net, torch.randn(1, 3), tmp_path / "net.pt2")

    program = Program.from_exported(load(tmp_path / "net.pt2"))
    for output, want in net.eval()(x).items():
        torch.testing.assert_close(program.forward((x,), output), want)
    assert [layer.name for layer in manifest.layers] == ["input", "dropout", "linear"]
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt2"]


def test_export_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    net = Net().train()
    net.linear.eval()

    unitrank.export(net, torch.randn(2, 3), tmp_path / "net.pt2")

    assert (net.training, net.dropout.training, net.linear.training) == (True, True, False)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_export_twice_gives_the_same_bytes_and_the_reader_keeps_all_but_the_mark(tmp_path: Path) -> None:
    net = Net()

    for name in ("first", "second"):
        unitrank.export(net, torch.randn(4, 3), tmp_path / name)
    clean(tmp_path / "first", tmp_path / "third")

    first, third = entries_of(tmp_path / "first"), entries_of(tmp_path / "third")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert third == {name: content for name, content in first.items() if name != MARK}


def test_export_of_arguments_in_order_takes_one_tensor_for_two_inputs(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + 2 * b

    x = torch.randn(2, 3)

    manifest = unitrank.export(Sum(), (x, x), tmp_path / "net.pt2")

    assert [port.name for port in manifest.inputs] == ["a", "b"]


def _taken(y: Tensor) -> Tensor:
    if y.sum() > 0:
        return y + 1
    return y


def _counted(y: Tensor) -> Tensor:
    return torch.stack([y[row] for row in range(len(y))])


def _viewed(y: Tensor) -> Tensor:
    return y.view(2, 2)


def _left(y: Tensor) -> Tensor:
    return torch.from_numpy(y.numpy() * 2)


def _drawn(y: Tensor) -> Tensor:
    return y + torch.rand_like(y)


def _chosen(y: Tensor) -> Tensor:
    return y[y[:, 0] > 0]


def _read(y: Tensor) -> Tensor:
    return y * y.mean().item()


@pytest.mark.parametrize(
    ("function", "line", "advice"),
    [
        (_taken, "if y.sum() > 0:", "torch.where or masks"),
        (_counted, "return torch.stack([y[row] for row in range(len(y))])", "write x.shape[0]"),
        (_viewed, "return y.view(2, 2)", "-1 in view and reshape"),
        (_left, "return torch.from_numpy(y.numpy() * 2)", "stay with tensors"),
    ],
)
def test_export_when_torch_cannot_export_a_line_then_names_it_and_writes_nothing(
    function: Callable[[Tensor], Tensor], line: str, advice: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    number = inspect.getsourcelines(function)[1] + inspect.getsource(function).splitlines().index(f"    {line}")

    with pytest.raises(unitrank.ExportRefused) as refusal:
        unitrank.export(Doing(function), torch.randn(2, 3), tmp_path / "net.pt2")

    assert f"{__file__}:{number}, in {function.__name__}\n    {line}" in str(refusal.value)
    assert advice in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "advice"), [(_drawn, "random numbers"), (_chosen, "masks keep the size"), (_read, "compute with tensors")]
)
def test_export_when_the_reader_refuses_an_operator_then_names_the_line_in_forward(
    function: Callable[[Tensor], Tensor], advice: str, tmp_path: Path
) -> None:
    """Torch records for each operation the modules that called it, but not plain functions."""
    with pytest.raises(unitrank.ExportRefused) as refusal:
        unitrank.export(Doing(function), torch.randn(2, 3), tmp_path / "net.pt2")

    assert f"{__file__}:{inspect.getsourcelines(Doing.forward)[1] + 1}, in forward\n" in str(refusal.value)
    assert advice in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_export_when_unitrank_operators_names_an_operator_then_a_network_may_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_engine.archive.description.operators._added", set())
    net = Doing(torch.special.bessel_j0)
    with pytest.raises(unitrank.ExportRefused, match="bessel_j0"):
        unitrank.export(net, torch.randn(2, 3), tmp_path / "net.pt2")

    monkeypatch.setenv("UNITRANK_OPERATORS", "aten.native_channel_shuffle.default, aten.special_bessel_j0.default")
    manifest = unitrank.export(net, torch.randn(2, 3), tmp_path / "net.pt2")

    assert manifest.outputs[0].shape == [None, 2]


def test_export_when_unitrank_operators_names_an_unknown_operator_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNITRANK_OPERATORS", "aten.nothing.default")

    with pytest.raises(NotPossible, match=r"UNITRANK_OPERATORS.*aten\.nothing\.default.*expected") as refusal:
        unitrank.export(Net(), torch.randn(2, 3), tmp_path / "net.pt2")

    assert refusal.value.code == "unknown_operator"


class Other:
    """A type that torch does not know."""


calls: list[int] = []


def _counting(y: Tensor) -> Tensor:
    """Multiplies by the number of its calls."""
    calls.append(1)
    return y * len(calls)


@pytest.mark.parametrize(
    ("net", "examples", "words"),
    [
        (Doing(lambda y: Other()), torch.ones(2, 3), "return tensors in tuples, dicts"),
        (Doing(_counting), torch.ones(2, 3), "not what the module computes"),
        (Net(), [3.0], "no tensor whose first axis"),
        (Net(), torch.tensor(1.0), "no tensor whose first axis"),
        (Net(), {"x": torch.ones(2, 3), "y": torch.ones(3, 3)}, "[2, 3] rows"),
        (Net(), {"y": torch.ones(2, 3)}, "y"),
        (Net(), torch.ones(2, 4), "cannot be exported"),
    ],
)
def test_export_when_its_arguments_are_wrong_then_the_error_says_what_is_accepted(
    net: nn.Module, examples: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(unitrank.ExportRefused) as refusal:
        unitrank.export(net, examples, tmp_path / "net.pt2")

    assert words in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_network_whose_answers_are_no_numbers_lets_it_through(tmp_path: Path) -> None:
    """The values of the example inputs do not matter, so an output may be NaN."""
    unitrank.export(Doing(torch.log), -torch.ones(2, 3), tmp_path / "net.pt2")

    assert (tmp_path / "net.pt2").exists()


def test_export_when_the_folder_does_not_exist_then_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(unitrank.ExportRefused, match="does not exist; create it"):
        unitrank.export(Net(), torch.ones(2, 3), tmp_path / "nowhere" / "net.pt2")


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _split(folder: Path, files: int = 2) -> dict[str, str]:
    """Split the weights of the folder into files, and return the index's map of weights."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {weight: f"model-{number % files}.safetensors" for number, weight in enumerate(sorted(weights))}
    for file in set(names.values()):
        save_file({weight: weights[weight] for weight, holder in names.items() if holder == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return names


def _index(change: Callable[[dict[str, str]], object]) -> Callable[[Path], object]:
    """Split the weights, and change the index's map of weights."""

    def split(folder: Path) -> None:
        names = _split(folder)
        changed = change(names) or names
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": changed}))

    return split


def test_folder_when_its_weights_are_in_several_files_then_the_archive_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    saved(tmp_path / "saved", BERT, "BertForSequenceClassification")
    unitrank.export_folder(tmp_path / "saved", tmp_path / "whole.pt2", shape=[6])
    _split(tmp_path / "saved", 3)

    unitrank.export_folder(tmp_path / "saved", tmp_path / "split.pt2", shape=[6])

    assert (tmp_path / "split.pt2").read_bytes() == (tmp_path / "whole.pt2").read_bytes()


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (_without("config.json"), {}, "its config.json cannot be read"),
        (_without("model.safetensors"), {}, "it has no model.safetensors"),
        (_index(lambda names: names.update({"w": "../model-0.safetensors"})), {}, "names the file '../model-0.safetensors'"),
        (_index(lambda names: names.update({"w": "gone.safetensors"})), {}, "'gone.safetensors', which is not in the folder"),
        (_index(lambda names: names.update({"w": "model-0.safetensors"})), {}, "does not hold the weights"),
        (_index(lambda names: [1]), {}, "cannot be read as an index of weights"),
        (lambda folder: (folder / "config.json").write_text("[]"), {}, "expected the content of config.json"),
        (lambda folder: None, {"shape": [13]}, "cannot be exported"),
        (lambda folder: None, {"position": 1}, "has one output for all tokens"),
    ],
)
def test_folder_when_it_cannot_be_exported_then_the_error_names_the_reason_and_nothing_is_written(
    change: Callable[[Path], object], more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    saved(tmp_path / "saved", BERT, "BertForSequenceClassification")
    change(tmp_path / "saved")

    with pytest.raises(NotPossible) as refusal:
        unitrank.export_folder(tmp_path / "saved", tmp_path / "net.pt2", **more)

    assert words in str(refusal.value)
    assert not (tmp_path / "net.pt2").exists()


def test_export_when_the_network_does_not_run_on_the_examples_then_the_error_has_the_reason(tmp_path: Path) -> None:
    with pytest.raises(unitrank.ExportRefused, match=r"(?s)does not run on the example inputs.*same dtype"):
        unitrank.export(torch.nn.Linear(4, 2), torch.zeros(2, 4, dtype=torch.int64), tmp_path / "net.pt2")

    assert not (tmp_path / "net.pt2").exists()


def test_export_of_an_array_of_texts_is_refused_by_its_type(tmp_path: Path) -> None:
    with pytest.raises(unitrank.ExportRefused, match="numpy array of type <U1, which torch cannot hold"):
        unitrank.export(torch.nn.Linear(1, 2), np.array([["a"], ["b"]]), tmp_path / "net.pt2")


def test_export_command_with_a_file_instead_of_a_network_names_the_files_kind(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "net.pt")

    with pytest.raises(unitrank.ExportRefused) as refusal:
        export_model(str(tmp_path / "net.pt"), tmp_path / "net.pt2")

    assert "net.pt is a file, not a torch.nn.Module\nthe file was written by torch.save" in str(refusal.value)
