"""`unitrank export`: in this process, and as a command in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from tests.support.processes import command
from tests.support.transformers import GPT2, saved
from unitrank.cli.main import main
from unitrank_engine.archive import load
from unitrank_engine.program import Program
from unitrank_schemas.models import Manifest

ROOT = Path(__file__).parents[4]
SOURCE = """
from torch import nn

def make():
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 2))

net = make()
"""


class Ended(NamedTuple):
    """A command's exit code and output."""

    returncode: int
    stdout: str
    stderr: str


Export = Callable[..., Ended]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """Runs `unitrank export` in this process, in a folder with a network in net.py."""
    (tmp_path / "net.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def in_process(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["unitrank", "export", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *capfd.readouterr())

    return in_process


def _as_process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, in the folder."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command("export", *words), cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.check
def test_command_when_it_is_given_a_file_with_weights_then_the_archive_has_those(tmp_path: Path) -> None:
    weights = {"0.weight": torch.ones(7, 4), "2.weight": torch.ones(2, 20), "2.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "weights.safetensors")
    (tmp_path / "net.py").write_text(SOURCE)

    done = _as_process(tmp_path, "net.py:make", "net.pt2", "--example", "int64:5", "--weights", "weights.safetensors")

    assert done.returncode == 0, done.stderr
    assert "2\tLinear\t2\tcut" in done.stdout.splitlines()
    program = Program.from_exported(load(tmp_path / "net.pt2"))
    output = program.forward(program.lift((torch.zeros(3, 5, dtype=torch.int64),)), "output")
    torch.testing.assert_close(output, torch.full((3, 2), 20.0))


@pytest.mark.check
def test_command_when_a_file_cannot_be_imported_then_a_shell_sees_that(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere\n")

    done = _as_process(tmp_path, "broken.py:make", "net.pt2", "--example", "int64:5")

    assert done.returncode == 2
    assert "broken.py cannot be imported: No module named 'nowhere'" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net:mak", "--example", "int64:5"], "has no 'mak'; it has make, net, nn"),
        (["nets:make", "--example", "int64:5"], "module 'nets' cannot be imported"),
        (["nowhere.py:make", "--example", "int64:5"], "the file nowhere.py does not exist"),
        (["net", "--example", "int64:5"], "write net.py:name"),
        (["net:nn", "--example", "int64:5"], "give a torch.nn.Module"),
        (["net:net", "--example", "int65:5"], "the example 'int65:5' is invalid"),
        (["net:net", "--example", "5"], "cannot be exported"),
        (["net:net", "--example", "int64:5", "--weights", "none.safetensors"], "cannot be read as a safetensors file"),
        (["net:net"], "--example 3x32x32"),
        (["net:net", "--example", "int64:5", "--position", "1"], "--position is only for a folder"),
        ([".", "--weights", "w.safetensors"], "leave out --weights"),
        ([".", "--example", "3", "--example", "3"], "give at most one --example"),
    ],
)
def test_command_when_its_arguments_are_wrong_then_names_them_and_exits_with_2(
    words: list[str], message: str, export: Export, tmp_path: Path
) -> None:
    ended = export(words[0], str(tmp_path / "net.pt2"), *words[1:])

    assert ended.returncode == 2
    assert message in ended.stderr.replace("\n", " ")
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.check
def test_command_when_it_is_given_a_saved_folder_then_the_archive_answers_as_the_model(export: Export, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, _ = saved(tmp_path / "saved", GPT2, "GPT2LMHeadModel")
    ids = torch.randint(0, 20, (3, 7))

    ended = export("saved", "net.pt2", "--example", "7", "--json")

    assert ended.returncode == 0, ended.stderr
    assert "logits" in [output.name for output in Manifest.model_validate_json(ended.stdout).outputs]
    assert "parameters" in ended.stderr
    program = Program.from_exported(load(tmp_path / "net.pt2"))
    logits = program.forward(program.lift((ids, torch.ones_like(ids))), "logits")
    with torch.no_grad():
        torch.testing.assert_close(logits, model(ids).logits[:, -1], rtol=0, atol=1e-6)
