"""Debounce: a finding counts after every round of some time has noted it."""

from tests.support.clock import Clock
from unitrank_store.recovery.debounce import Debounce


def test_finding_when_it_lasts_then_counts_after_its_time() -> None:
    clock = Clock()
    debounce = Debounce(clock)
    answers = []
    for _ in range(4):
        answers.append(debounce.lasts("lost", 2))
        debounce.end_round()
        clock.advance(1)

    assert answers == [False, False, True, True]


def test_finding_when_a_round_does_not_repeat_it_then_begins_anew() -> None:
    clock = Clock()
    debounce = Debounce(clock)
    debounce.lasts("lost", 1)
    debounce.end_round()
    debounce.end_round()
    clock.advance(5)

    assert not debounce.lasts("lost", 1)


def test_findings_when_all_are_forgotten_then_begin_anew() -> None:
    clock = Clock()
    debounce = Debounce(clock)
    debounce.lasts("lost", 1)
    debounce.forget()
    clock.advance(5)

    assert not debounce.lasts("lost", 1)
