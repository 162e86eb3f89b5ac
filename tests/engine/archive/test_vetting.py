"""Ordinary programs pass and compute the same as before."""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils import _pytree

from tests.engine.archive.forging import Entries, edited, entries_of, write
from tests.engine.archive.networks import networks
from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_engine.program import Program


def exported(name: str) -> torch.export.ExportedProgram:
    """The network with automatic batch sizes, as MLflow saves it."""
    network, inputs = networks()[name]
    shapes = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
    return torch.export.export(network, inputs, dynamic_shapes=shapes)


# torch names the flat weights of a recurrent layer while it exports one.
@pytest.mark.filterwarnings("ignore:The tensor attributes self.recurrent._flat_weights")
@pytest.mark.parametrize(
    ("name", "decomposed"),
    [(name, False) for name in networks()]
    + [("causal", True), *(pytest.param(name, True, marks=pytest.mark.check) for name in ("residual", "encoder", "lstm"))],
)
def test_clean_of_an_ordinary_network_gives_its_outputs(name: str, decomposed: bool, tmp_path: Path) -> None:
    """A cleaned and loaded program computes for three rows what the network computes."""
    network, inputs = networks()[name]
    program = exported(name)
    torch.export.save(program.run_decompositions({}) if decomposed else program, tmp_path / "model.pt2")
    clean(tmp_path / "model.pt2", tmp_path / "clean")
    rows = tuple(torch.cat([value, value[:1]]) for value in inputs)
    outputs, spec = _pytree.tree_flatten(load(tmp_path / "clean").module()(*rows))
    expected, expected_spec = _pytree.tree_flatten(network(*rows))

    assert spec == expected_spec
    assert all(torch.equal(output, right) for output, right in zip(outputs, expected, strict=True))


@pytest.mark.check
def test_clean_of_core_operators_gives_nearly_the_same_outputs(tmp_path: Path) -> None:
    """A fully decomposed program is accepted too."""
    network, inputs = networks()["encoder"]
    torch.export.save(exported("encoder").run_decompositions(), tmp_path / "model.pt2")
    clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert torch.allclose(load(tmp_path / "clean").module()(*inputs), network(*inputs), atol=1e-6)


def test_clean_of_one_program_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The digest names the program, not the file."""
    program = exported("residual")
    digests = []
    for name in ("first.pt2", "second.pt2"):
        torch.export.save(program, tmp_path / name)
        digests.append(clean(tmp_path / name, tmp_path / f"{name}.clean"))

    assert digests[0] == digests[1]
    assert (tmp_path / "first.pt2").read_bytes() != (tmp_path / "second.pt2").read_bytes()


def test_clean_of_a_clean_archive_changes_nothing(saved: Path, tmp_path: Path) -> None:
    """A clean archive is cleaned to the same bytes."""
    assert clean(saved, tmp_path / "once") == clean(tmp_path / "once", tmp_path / "twice")


def test_clean_keeps_module_paths_and_drops_stack_traces(saved: Path, tmp_path: Path) -> None:
    """Names of layers stay; paths of the user's files are dropped."""
    clean(saved, tmp_path / "clean")
    nodes = [node for node in load(tmp_path / "clean").graph.nodes if node.op == "call_function"]

    assert ["head" in [path for path, _ in node.meta["nn_module_stack"].values()] for node in nodes].count(True) == 1
    assert b"stack_trace" not in (tmp_path / "clean").read_bytes()


def test_clean_of_a_program_for_another_device_gives_one_for_the_cpu(entries: Entries, tmp_path: Path) -> None:
    """A program that was exported on a GPU loads on a machine without one."""
    for name in ("models/model.json", "data/weights/model_weights_config.json"):
        entries[name] = entries[name].replace(b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}')
    clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")

    assert b"cuda" not in (tmp_path / "clean").read_bytes()
    assert load(tmp_path / "clean").state_dict["conv.weight"].device.type == "cpu"


def test_clean_streams_weights_that_are_larger_than_a_chunk(tmp_path: Path) -> None:
    """A weight that is copied in several pieces stays equal."""
    network = torch.nn.Linear(1000, 700)
    torch.export.save(torch.export.export(network, (torch.ones(1, 1000),)), tmp_path / "model.pt2")
    clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert torch.equal(load(tmp_path / "clean").state_dict["weight"], network.weight)


def test_clean_of_a_refused_archive_leaves_no_target(saved: Path, tmp_path: Path) -> None:
    """When a checksum is wrong while weights are copied, the unfinished archive is removed."""
    content = bytearray(saved.read_bytes())
    weight = entries_of(saved)["data/weights/weight_0"]
    content[content.index(weight)] ^= 1
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(ArchiveError) as refusal:
        clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert refusal.value.code == "not_an_archive"
    assert not (tmp_path / "clean").exists()


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor
    loss: torch.Tensor | None = None


class Pair(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor


class Answering(torch.nn.Module):
    def __init__(self, answer: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.answer = torch.nn.Linear(2, 3), answer

    def forward(self, x: torch.Tensor) -> Any:
        h = self.linear(x)
        return self.answer(h, h.relu())


@pytest.mark.parametrize(
    ("answer", "names"), [(Answer, ["logits", "hidden"]), (Pair, ["output.0", "output.1"]), (OrderedDict, ["logits", "hidden"])]
)
def test_clean_of_outputs_in_classes_gives_plain_containers(answer: Any, names: list[str], tmp_path: Path) -> None:
    """A class of the outputs becomes a plain container; its module is never imported."""
    register(answer)
    network = Answering(answer if answer is not OrderedDict else lambda h, r: OrderedDict(logits=h, hidden=r)).eval()
    exported = torch.export.export(network, (torch.ones(2, 2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(exported, tmp_path / "model.pt2")

    clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert b"tests.answers" not in (tmp_path / "clean").read_bytes()
    assert list(Program.from_exported(load(tmp_path / "clean")).outputs) == names


def register(answer: Any) -> None:
    """Registers the class with torch, once."""
    if answer is Answer and Answer not in _pytree.SUPPORTED_NODES:
        torch.export.register_dataclass(Answer, serialized_type_name="tests.answers.Answer")
    if answer is Pair and Pair not in _pytree.SUPPORTED_SERIALIZED_TYPES:
        _pytree._register_namedtuple(Pair, serialized_type_name="tests.answers.Pair")


def test_load_of_a_program_that_torch_cannot_build_is_an_archive_error(entries: Entries, tmp_path: Path) -> None:
    """A node that uses an unknown value passes the vetting, and loading raises ArchiveError."""
    with edited(entries) as program:
        program["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_tensor": {"name": "nobody"}}
    clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")

    with pytest.raises(ArchiveError, match="cannot build the program"):
        load(tmp_path / "clean")


@pytest.mark.parametrize("before", [None, "0"])
def test_load_leaves_the_environment_as_it_was(
    before: str | None, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickles are forbidden during the load only."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    clean(saved, tmp_path / "clean")
    load(tmp_path / "clean")

    assert os.environ.get(name) == before
