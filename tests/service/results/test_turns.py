"""Turns between owners: each owner in its turn; no caller waits for a cancelled one."""

import asyncio
from collections.abc import Sequence

from unitrank_service.results.turns import Turns


async def settle() -> None:
    """Run all tasks until each of them waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def order(owners: Sequence[str], leaving: Sequence[int] = ()) -> list[str]:
    """The owners in the order of their turns, while somebody else holds the first turn.

    `leaving`: the numbers of the callers that are cancelled while they wait.
    """
    turns, served = Turns(), list[str]()

    async def call(owner: str) -> None:
        async with turns.turn(owner):
            served.append(owner)
            await asyncio.sleep(0)

    async with turns.turn("first"):
        tasks = [asyncio.create_task(call(owner)) for owner in owners]
        await settle()
        for number in leaving:
            tasks[number].cancel()
        await settle()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(call("last"), 10)
    return served[:-1]


def test_owners_when_one_has_many_calls_then_take_turns() -> None:
    assert asyncio.run(order(["a", "a", "a", "b", "c", "b"])) == ["a", "b", "c", "a", "b", "a"]


def test_owner_when_it_holds_the_turn_then_its_other_calls_come_last() -> None:
    assert asyncio.run(order(["first", "first", "a", "b"])) == ["a", "b", "first", "first"]


def test_call_when_cancelled_while_it_waits_then_has_no_turn() -> None:
    assert asyncio.run(order(["a", "a", "b", "b"], leaving=[0, 2])) == ["a", "b"]


def test_call_when_cancelled_in_the_moment_of_its_turn_then_passes_it_on() -> None:
    async def run() -> None:
        turns = Turns()

        async def call(owner: str) -> str:
            async with turns.turn(owner):
                return owner

        async with turns.turn("first"):
            late, other = (asyncio.create_task(call(owner)) for owner in ("a", "b"))
            await settle()
        # The turn has been given to `late`, which has not run since.
        late.cancel()

        assert await asyncio.wait_for(other, 10) == "b"
        assert late.cancelled()

    asyncio.run(run())
