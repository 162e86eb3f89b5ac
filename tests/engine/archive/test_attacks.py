"""Parts that an archive may not hold. Complete attacks are in tests/attacks."""

from pathlib import Path

import pytest

from tests.engine.archive.forging import Entries, edited, write
from unitrank_engine.archive import ArchiveError, clean, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("data/aotinductor/model/x.wrapper.so", "archive_entry_refused"),
        ("data/constants/custom_obj_0", "pickle_refused"),
        ("models/other.json", "archive_entry_refused"),
        ("data/weights/readme", "archive_entry_refused"),
        ("data.pkl", "not_an_archive"),
        ("code/__torch__.py", "not_an_archive"),
    ],
)
def test_clean_of_an_entry_of_another_kind_refuses_it(name: str, code: str, entries: Entries, tmp_path: Path) -> None:
    """Libraries, script objects, second programs and unknown entries are refused by name."""
    entries[name] = b"x"

    with pytest.raises(ArchiveError) as refusal:
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == code


def test_clean_of_an_archive_with_extra_files_drops_them(saved: Path, entries: Entries, tmp_path: Path) -> None:
    """Notes that the user saved beside the program change nothing."""
    entries["extra/notes/about.txt"] = b"a note"
    write(entries, tmp_path / "model.pt2")

    assert clean(tmp_path / "model.pt2", tmp_path / "clean") == clean(saved, tmp_path / "other")


@pytest.mark.parametrize("name", ["x.y", "x y", "x=1", "lambda", "x\n", "é", ""])
def test_clean_of_a_value_that_is_no_identifier_refuses_it(name: str, entries: Entries, tmp_path: Path) -> None:
    """Names of values end up in generated code."""
    with edited(entries) as program:
        graph = program["graph_module"]["graph"]
        graph["inputs"][-1]["as_tensor"]["name"] = name

    with pytest.raises(ArchiveError, match="expected a Python identifier"):
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")


@pytest.mark.parametrize("name", ["a..b", "a.__class__", 'a").x', "a b", "", "a\x00"])
def test_clean_of_a_parameter_that_is_no_path_refuses_it(name: str, entries: Entries, tmp_path: Path) -> None:
    """Names of parameters become attributes of a module."""
    with edited(entries) as program:
        program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = name

    with pytest.raises(ArchiveError, match="expected a path such as"):
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten._unsafe_index.Tensor",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.bernoulli.default",
        "torch.ops.aten.rand.default",
        "torch.ops.aten.native_dropout.default",
        "torch.ops.aten.item.default",
        "torch.ops.higher_order.cond",
        "torch.ops.mine.operator.default",
        "torch.os.system",
        "torch.load",
        "math.__loader__.load_module",
        "_operator.attrgetter",
        "#namespace:operator",
        "torch.ops.aten.relu.default ",
        "",
    ],
)
def test_clean_of_an_operator_outside_the_list_refuses_it(target: str, entries: Entries, tmp_path: Path) -> None:
    """Only an operator whose name equals a listed name is accepted."""
    with edited(entries) as program:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(ArchiveError) as refusal:
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == "operator_refused"


@pytest.mark.parametrize(
    "argument",
    [
        {"as_graph": {"name": "g", "graph": {}}},
        {"as_operator": "torch.os.system"},
        {"as_custom_obj": {"name": "o", "class_fqn": "c"}},
        {"as_string_to_argument": {}},
        {"as_int": True},
        {"as_int": 1 << 63},
        {"as_int": 1, "as_bool": True},
        {"as_tensor": None},
        {},
        None,
    ],
)
def test_clean_of_an_argument_of_another_kind_refuses_it(argument: object, entries: Entries, tmp_path: Path) -> None:
    """An argument is a number, a word or a value of the graph, of exactly one kind."""
    with edited(entries) as program:
        program["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = argument

    with pytest.raises(ArchiveError) as refusal:
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == "program_refused"


def test_program_when_an_operator_cannot_take_its_argument_then_is_refused_with_a_code(entries: Entries, tmp_path: Path) -> None:
    """The vetting knows no shapes: torch notices when it computes the shapes again."""
    with edited(entries) as program:
        node = program["graph_module"]["graph"]["nodes"][0]
        node |= {"target": "torch.ops.aten.trace.default", "inputs": [node["inputs"][0] | {"name": "self"}]}
    clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")

    with pytest.raises(EngineError, match="cannot compute the shapes of the program: expected a matrix") as refusal:
        Program.from_exported(load(tmp_path / "clean"))
    assert refusal.value.code == "not_loadable"
