"""`unitrank.export` and `unitrank export`: what is written, and which line stands in the way."""

import inspect
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import unitrank
from tests.support.processes import run
from tests.support.transformers import BERT, GPT2, saved
from unitrank.errors import NotPossible
from unitrank_engine.archive import clean, load
from unitrank_engine.program import Program
from unitrank_schemas.models import Manifest


class Net(nn.Module):
    """A region without gradients, a dropout, and two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(3, 2), nn.Dropout()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            mean = x.mean(1, keepdim=True)
        return {"logits": self.linear(self.dropout(x - mean)), "mean": mean}


class Doing(nn.Module):
    """What it is told, behind a linear layer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.linear(x))


def test_export_writes_what_the_service_lets_in_for_any_batch(tmp_path: Path) -> None:
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


def test_export_twice_gives_the_same_bytes_and_the_reader_keeps_them(tmp_path: Path) -> None:
    net = Net()

    for name in ("first", "second"):
        unitrank.export(net, torch.randn(4, 3), tmp_path / name)
    clean(tmp_path / "first", tmp_path / "third")

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == (tmp_path / "third").read_bytes()


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
        (_taken, "if y.sum() > 0:", "torch.where and masks take both"),
        (_counted, "return torch.stack([y[row] for row in range(len(y))])", "write x.shape[0]"),
        (_viewed, "return y.view(2, 2)", "-1 in view and reshape"),
        (_left, "return torch.from_numpy(y.numpy() * 2)", "stay with tensors"),
    ],
)
def test_export_of_what_stops_torch_names_the_line_and_writes_nothing(
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
    ("function", "advice"), [(_drawn, "no random numbers"), (_chosen, "masks keep the size"), (_read, "no item()")]
)
def test_export_of_what_the_reader_refuses_names_the_line_of_the_forward_pass(
    function: Callable[[Tensor], Tensor], advice: str, tmp_path: Path
) -> None:
    """Torch remembers of each operation the modules that it was called from, and no plain functions."""
    with pytest.raises(unitrank.ExportRefused) as refusal:
        unitrank.export(Doing(function), torch.randn(2, 3), tmp_path / "net.pt2")

    assert f"{__file__}:{inspect.getsourcelines(Doing.forward)[1] + 1}, in forward\n" in str(refusal.value)
    assert advice in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


class Other:
    """Nothing that torch knows."""


calls: list[int] = []


def _counting(y: Tensor) -> Tensor:
    """Remembers how often it was asked."""
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
def test_export_of_other_mistakes_says_what_would_be_right(net: nn.Module, examples: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(unitrank.ExportRefused) as refusal:
        unitrank.export(net, examples, tmp_path / "net.pt2")

    assert words in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_network_whose_answers_are_no_numbers_lets_it_through(tmp_path: Path) -> None:
    """The values of the examples do not matter."""
    unitrank.export(Doing(torch.log), -torch.ones(2, 3), tmp_path / "net.pt2")

    assert (tmp_path / "net.pt2").exists()


def test_export_to_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(unitrank.ExportRefused, match="there is no folder"):
        unitrank.export(Net(), torch.ones(2, 3), tmp_path / "nowhere" / "net.pt2")


SOURCE = """
from torch import nn

def make():
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 2))

net = make()
"""


def _command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "net.py").write_text(SOURCE)
    return run("export", *words, environment={**os.environ, "PYTHONPATH": str(folder)})


def test_command_exports_a_file_of_python_with_weights(tmp_path: Path) -> None:
    weights = {"0.weight": torch.ones(7, 4), "2.weight": torch.ones(2, 20), "2.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "weights.safetensors")
    target = str(tmp_path / "net.pt2")

    done = _command(
        tmp_path, f"{tmp_path}/net.py:make", target, "--example", "int64:5", "--weights", str(tmp_path / "weights.safetensors")
    )

    assert done.returncode == 0, done.stderr
    assert "2\tLinear\t2\tcut" in done.stdout.splitlines()
    program = Program.from_exported(load(Path(target)))
    found = program.forward(program.lift((torch.zeros(3, 5, dtype=torch.int64),)), "output")
    torch.testing.assert_close(found, torch.full((3, 2), 20.0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["broken.py:make", "--example", "int64:5"], "broken.py cannot be imported: No module named 'nowhere'"),
        (["net:mak", "--example", "int64:5"], "has no 'mak'; it has make, net, nn"),
        (["nets:make", "--example", "int64:5"], "module 'nets' cannot be imported"),
        (["nowhere.py:make", "--example", "int64:5"], "there is no file nowhere.py"),
        (["net", "--example", "int64:5"], "write net.py:name"),
        (["net:nn", "--example", "int64:5"], "expected a torch.nn.Module"),
        (["net:net", "--example", "int65:5"], "the example 'int65:5' is not understood"),
        (["net:net", "--example", "5"], "cannot be exported"),
        (["net:net", "--example", "int64:5", "--weights", "none.safetensors"], "no safetensors file"),
    ],
)
def test_command_with_a_mistake_says_so_and_exits_with_2(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere\n")
    done = _command(tmp_path, words[0].replace("broken", f"{tmp_path}/broken"), str(tmp_path / "net.pt2"), *words[1:])

    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert not (tmp_path / "net.pt2").exists()


def test_command_when_it_is_given_a_saved_folder_then_the_archive_answers_as_the_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, _ = saved(tmp_path / "saved", GPT2, "GPT2LMHeadModel")
    ids = torch.randint(0, 20, (3, 7))

    words = [str(tmp_path / "saved"), str(tmp_path / "net.pt2"), "--example", "7", "--json"]
    done = run("export", *words, environment=dict(os.environ))

    assert done.returncode == 0, done.stderr
    assert "logits" in [output.name for output in Manifest.model_validate_json(done.stdout).outputs]
    assert "parameters" in done.stderr
    program = Program.from_exported(load(tmp_path / "net.pt2"))
    found = program.forward(program.lift((ids, torch.ones_like(ids))), "logits")
    with torch.no_grad():
        torch.testing.assert_close(found, model(ids).logits[:, -1], rtol=0, atol=1e-6)


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _in_parts(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (_without("config.json"), {}, "its config.json cannot be read"),
        (_without("model.safetensors"), {}, "it has no model.safetensors"),
        (_in_parts, {}, "its weights lie in several files; load the model and write it once more with save_pretrained"),
        (lambda folder: (folder / "config.json").write_text("[]"), {}, "expected what config.json holds"),
        (lambda folder: None, {"shape": [13]}, "cannot be exported"),
        (lambda folder: None, {"position": 1}, "has one answer for all tokens"),
    ],
)
def test_folder_when_it_cannot_be_exported_then_it_says_so_and_nothing_is_written(
    change: Callable[[Path], object], more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    saved(tmp_path / "saved", BERT, "BertForSequenceClassification")
    change(tmp_path / "saved")

    with pytest.raises(NotPossible) as refusal:
        unitrank.export_folder(tmp_path / "saved", tmp_path / "net.pt2", **more)

    assert words in str(refusal.value)
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net:net"], "--example 3x32x32"),
        (["net:net", "--example", "int64:5", "--position", "1"], "--position is for a folder"),
        ([".", "--weights", "w.safetensors"], "needs no --weights"),
        ([".", "--example", "3", "--example", "3"], "one --example says its input's shape"),
    ],
)
def test_command_when_its_options_do_not_fit_then_it_says_so_and_exits_with_2(words: list[str], said: str, tmp_path: Path) -> None:
    done = _command(tmp_path, words[0], str(tmp_path / "net.pt2"), *words[1:])

    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
