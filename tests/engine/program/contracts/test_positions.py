"""Positions outside a tensor are refused: constant ones once, others each time the graph runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import export, program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_engine.program.contracts.positions import INDEXED, RULES, ordered, positions

aten = torch.ops.aten

TABLE = torch.arange(20.0).reshape(5, 4)


class Using(nn.Module):
    """Uses positions on a table, which the archive holds."""

    def __init__(self, function: Callable[..., Any], indices: Tensor | None = None) -> None:
        super().__init__()
        self.function, self.constant = function, indices is not None
        self.register_buffer("table", TABLE)
        if indices is not None:
            self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.function(self.table, getattr(self, "indices", x))
        return value.sum() + torch.zeros(x.shape[0], 1) if self.constant else value.reshape(x.shape[0], -1).sum(1, keepdim=True)


def scatter(table: Tensor, rows: Tensor) -> Tensor:
    return aten.scatter.value(table[None].expand(rows.shape[0], -1, -1), 1, rows[:, :, None], 1.0)


def put(table: Tensor, rows: Tensor) -> Tensor:
    batch = torch.arange(rows.shape[0])[:, None]
    return aten.index_put.default(table[None].repeat(rows.shape[0], 1, 1), [batch, rows], torch.ones(4))


def take(table: Tensor, rows: Tensor) -> Tensor:
    return aten.take_along_dim.default(table[:, 0], rows.flatten(), 0)


def bags(table: Tensor, offsets: Tensor) -> Tensor:
    return aten.embedding_bag.default(table, torch.zeros(8, dtype=torch.int64), offsets)[0]


USES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "embedding": lambda table, rows: aten.embedding.default(table, rows),
    "index": lambda table, rows: aten.index.Tensor(table, [rows]),
    "index_of_a_later_axis": lambda table, rows: aten.index.Tensor(table.t(), [None, rows]).movedim(0, -1),
    "index_select": lambda table, rows: aten.index_select.default(table, 0, rows.flatten()),
    "gather": lambda table, rows: aten.gather.default(
        table[None].expand(rows.shape[0], -1, -1), 1, rows[:, :, None].expand(-1, -1, 4)
    ),
    "take_along_dim": take,
    "scatter": scatter,
    "scatter_add": lambda table, rows: aten.scatter_add.default(
        table[None].expand(rows.shape[0], -1, -1), 1, rows[:, :, None], torch.ones(1).expand(rows.shape[0], rows.shape[1], 1)
    ),
    "index_put": put,
    "one_hot": lambda table, rows: aten.one_hot.default(rows, 5).to(table.dtype),
}


@pytest.mark.parametrize("use", list(USES))
@pytest.mark.parametrize("wrong", [5, -6, 1 << 40])
def test_positions_of_a_dataset_when_they_are_outside_then_the_run_stops(use: str, wrong: int) -> None:
    program = program_of(Using(USES[use]), torch.zeros(2, 3, dtype=torch.int64))
    rows = torch.tensor([[0, 1, 4], [2, 3, wrong]])

    with pytest.raises(IndexError, match=r"index out of range in self: .* of 5"):
        program.forward(program.lift((rows,)), "output")


@pytest.mark.parametrize("use", list(USES))
def test_positions_of_a_dataset_when_they_are_inside_then_the_value_is_torchs(use: str) -> None:
    network = Using(USES[use])
    rows = torch.tensor([[0, 1, 4], [2, 3, 3]])

    program = program_of(network, rows)

    torch.testing.assert_close(program.forward(program.lift((rows,)), "output"), network(rows), rtol=0, atol=0)


@pytest.mark.parametrize("use", ["embedding", "index", "index_select", "one_hot"])
def test_positions_that_the_archive_holds_when_they_are_outside_then_the_archive_is_refused(use: str) -> None:
    exported = export(Using(USES[use], torch.tensor([0, 4])), torch.zeros(2, 3, dtype=torch.int64))
    exported.constants.update({name: torch.tensor([0, 5]) for name in exported.constants})
    exported.state_dict["indices"] = torch.tensor([0, 5])

    with pytest.raises(EngineError, match="gets the positions 0 to 5 of 5") as caught:
        Program.from_exported(exported)

    assert caught.value.code == "weights_refused"


def test_positions_that_the_archive_holds_are_not_checked_again() -> None:
    program = program_of(Using(USES["index"], torch.tensor([0, 4])), torch.zeros(2, 3, dtype=torch.int64))

    assert positions not in [node.target for node in program.module.graph.nodes]


def test_negative_positions_of_an_index_count_from_the_end() -> None:
    network = Using(USES["index"])
    rows = torch.tensor([[-1, -5, 4], [2, 3, 3]])

    program = program_of(network, rows.abs() % 5)

    torch.testing.assert_close(program.forward(program.lift((rows,)), "output"), network(rows), rtol=0, atol=0)


def test_the_last_axis_of_a_table_that_is_a_number_is_its_only_one() -> None:
    network = Using(lambda table, rows: table[0, 0].gather(-1, rows), torch.tensor(0))

    assert program_of(network, torch.zeros(2, 3)).outputs


def test_a_mask_among_positions_covers_its_own_axes() -> None:
    mask = torch.tensor([True, False, True, False, True])
    network = Using(lambda table, rows: aten.index.Tensor(table, [rows % 5, None]) * mask.sum())

    assert program_of(network, torch.zeros(2, 3, dtype=torch.int64)).outputs


def test_offsets_of_bags_that_go_back_are_refused() -> None:
    """torch returned unwritten memory for these offsets."""
    network = Using(bags, torch.tensor([0, 5, 2]))

    with pytest.raises(EngineError, match="offsets go back") as caught:
        program_of(network, torch.zeros(2, 3))

    assert caught.value.code == "weights_refused"


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 1, 2)], ids=str)
def test_positions_of_any_shape_come_back_unchanged(shape: tuple[int, ...]) -> None:
    values = torch.zeros(shape, dtype=torch.int64)

    assert positions(values, 0, 1, "an operator") is values
    assert ordered(values.flatten()) is not None


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float32])
def test_positions_that_are_not_whole_numbers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(IndexError, match="expected whole numbers"):
        positions(torch.zeros(2, dtype=dtype), 0, 5, "aten.index_fill.int_Scalar")


def test_expanded_positions_are_checked_along_their_other_axes() -> None:
    values = torch.tensor([[0], [7]]).expand(2, 1000)

    with pytest.raises(IndexError, match="0 to 7 of 5"):
        positions(values, 0, 5, "an operator")


def test_every_operator_on_the_list_that_takes_positions_has_a_rule() -> None:
    """An argument named like positions belongs to an operator with a rule, or to one that is
    rewritten.
    """
    from unitrank_engine.archive.description.operators import OPERATORS
    from unitrank_engine.program.rewrites import REWRITES

    named = {"index", "indices", "sorter", "offsets"}
    without = set()
    for name in OPERATORS:
        if not name.startswith("torch.ops.aten."):
            continue
        operator, overload = name.removeprefix("torch.ops.aten.").split(".")
        target = getattr(getattr(aten, operator), overload)
        tensors = {each.name for each in target._schema.arguments if "Tensor" in str(each.type)}
        in_place = operator.endswith("_") and not operator.startswith("__")
        if tensors & named and target not in RULES and target not in INDEXED and target not in REWRITES and not in_place:
            without.add(name)

    assert without == set()


class Picking(nn.Module):
    """Picks each example's own row by its number, as classifiers of texts do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(x.shape[0]) + x.shape[0] * 0
        return self.layer(x)[rows]


def test_checks_of_rows_of_the_batch_have_a_trace_so_that_a_tail_can_repeat_its_rows() -> None:
    x = torch.randn(3, 4)
    program = program_of(Picking(), torch.zeros(2, 4))
    split = program.split(program.place("layer", "output"), next(iter(program.outputs)))
    h, live = split.head((x,))

    assert [node.name for node in program.module.graph.nodes if node.op == "call_function" and "val" not in node.meta] == []
    torch.testing.assert_close(split.tail(torch.cat([h, -h]), live), torch.cat([h, -h]))
