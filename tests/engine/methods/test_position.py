"""Positions between two ends are exact at any distance from either end."""

import torch

from unitrank_engine.methods.position import SMALLEST, Position

START, END = Position.at(0.0, 1, "cpu"), Position.at(1.0, 1, "cpu")


def test_middle_when_halved_towards_an_end_then_few_halvings_reach_any_distance() -> None:
    near_start, near_end = START.middle(END), START.middle(END)
    halvings = 0
    while near_start.from_start > 1e-20:
        near_start, near_end = START.middle(near_start), near_end.middle(END)
        halvings += 1

    assert halvings <= 6
    assert near_start.from_start == near_end.from_end >= SMALLEST


def test_position_when_next_to_the_end_then_is_told_from_the_end() -> None:
    close = Position(torch.tensor([1.0], dtype=torch.float64), torch.tensor([1e-20], dtype=torch.float64))
    start, end = torch.tensor([[1.0]]), torch.tensor([[0.0]])

    assert END - close == 1e-20
    assert close.order() < END.order()
    assert close.between(start, end, 0) == torch.tensor([[1e-20]])


def test_middle_when_an_interval_cannot_be_halved_then_says_so() -> None:
    left, right = Position.at(0.25, 1, "cpu"), Position.at(0.25 * (1 + 1e-7), 1, "cpu")

    assert not left.can_be_halved(right, rounding=6e-8)
    assert START.can_be_halved(right, rounding=6e-8)
    assert not START.can_be_halved(Position.at(SMALLEST, 1, "cpu"), rounding=6e-8)
