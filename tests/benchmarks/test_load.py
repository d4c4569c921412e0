"""The closed loop: every turn that was begun is read to its end, and what goes wrong is counted."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks import load, stamps


class Talker:
    """A user whose turns bring three tokens each, but for those that fail."""

    def __init__(self, *, failing: int = 0, tokens: int = 3) -> None:
        self.opened = 0
        self._failing = failing
        self._tokens = tokens

    async def open(self) -> None:
        self.opened += 1

    async def take(self, turn: load.Turn) -> None:
        if self._failing:
            self._failing -= 1
            raise ConnectionError("gone")
        for _ in range(self._tokens):
            await asyncio.sleep(0.005)
            turn.read(stamps.stamp(stamps.now()))


async def test_a_user_takes_turns_until_the_time_is_over() -> None:
    tally = load.Tally(tokens=3)
    await load.loop([Talker(), Talker()], tally, until=time.monotonic() + 0.1)
    outcome = tally.outcome(seconds=0.1)

    assert outcome.turns > 2
    assert outcome.tokens == 3 * outcome.turns
    assert outcome.first[0] >= 5
    assert not outcome.errors


async def test_everybody_takes_one_turn_at_least() -> None:
    tally = load.Tally(tokens=3)
    await load.loop([Talker() for _ in range(5)], tally, until=time.monotonic())

    assert tally.outcome(seconds=1).turns == 5


async def test_an_error_is_counted_and_the_user_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PAUSE", 0.001)
    user, tally = Talker(failing=1), load.Tally(tokens=3)
    await load.loop([user], tally, until=time.monotonic() + 0.2)
    outcome = tally.outcome(seconds=1)

    assert outcome.errors == {"ConnectionError: gone": 1}
    assert user.opened == 1
    assert outcome.turns >= 1


async def test_a_turn_that_lacks_tokens_is_an_error() -> None:
    tally = load.Tally(tokens=3)
    await load.loop([Talker(tokens=2)], tally, until=time.monotonic())

    assert tally.outcome(seconds=1).errors == {"turn without all its tokens": 1}


async def test_tokens_out_of_order_are_an_error() -> None:
    turn, tally = load.Turn(), load.Tally(tokens=2)
    turn.read(stamps.stamp(2) + stamps.stamp(1))
    tally.add(turn)

    assert tally.outcome(seconds=1).errors == {"turn with tokens out of order": 1}


def test_percentiles_of_few_values() -> None:
    assert load.percentiles([]) == [0, 0]
    assert load.percentiles([3, 1, 2]) == [2, 3]
