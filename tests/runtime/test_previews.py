"""What a tool says it would do: kept with the call, bounded, and never in the way."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order
from assistants.shop.tools import refund_preview
from runtime import decisions, ledger, previews, runs
from runtime.context import RunContext, current_run
from runtime.engine import Engine
from runtime.models import Run, RunStatus, Thread, ToolCall, ToolState
from runtime.tools import tool

from tests.runtime.test_gateway import call, foreign, rule_for  # noqa: F401  (fixtures)
from tests.support.engines import take_turn

pytestmark = pytest.mark.django_db(transaction=True)

asked: list[Any] = []


def tell(n: int) -> str:
    asked.append(n)
    return f"Would drop number {n}.\x00"


def fail(n: int) -> str:
    raise LookupError("There is no such number.")


def ramble(n: int) -> str:
    return "word " * 2000


def meddle(n: int) -> str:
    User.objects.create_user(f"user-{n}")
    return "Nothing will happen."


async def think(n: int) -> str:
    await asyncio.sleep(30)
    return "never"


def proposed(preview: Any, foreign: Any, engine: Engine, rule_for: Any) -> ToolCall:  # noqa: F811
    """The waiting call of a tool with that preview."""
    asked.clear()

    @tool(sensitive=True, effect="once", preview=preview)
    def drop(n: int) -> str:
        """Drop something."""
        return "dropped"

    rule_for("drop")
    thread: Thread = foreign(call("drop", 3, "a"), tools=[drop])
    assert take_turn(engine, thread, "go").status == RunStatus.WAITING
    return thread.tool_calls.get()


def test_it_is_asked_once_and_kept_with_the_call(
    foreign: Any,  # noqa: F811
    engine: Engine,
    rule_for: Any,  # noqa: F811
    bob: User,
) -> None:
    waiting = proposed(tell, foreign, engine, rule_for)
    decisions.decide(bob, waiting.pk, {"type": "approve"})
    engine.perform(str(Run.objects.latest("created_at").pk))

    waiting.refresh_from_db()
    assert waiting.preview == "Would drop number 3.\ufffd"
    assert waiting.preview_error == ""
    assert waiting.state == ToolState.DONE
    assert asked == [3]


@pytest.mark.parametrize(
    ("preview", "error"),
    [
        (fail, "LookupError: There is no such number."),
        (meddle, "InternalError: cannot execute INSERT in a read-only transaction"),
        (think, "No answer within 0.2 s."),
    ],
)
def test_one_that_fails_says_so_and_stops_nothing(
    foreign: Any,  # noqa: F811
    engine: Engine,
    rule_for: Any,  # noqa: F811
    bob: User,
    monkeypatch: pytest.MonkeyPatch,
    preview: Any,
    error: str,
) -> None:
    if preview is think:
        monkeypatch.setattr(previews, "PREVIEW_TIME", 0.2)

    waiting = proposed(preview, foreign, engine, rule_for)

    assert waiting.state == ToolState.WAITING
    assert waiting.preview == ""
    assert error in waiting.preview_error
    assert not User.objects.filter(username="user-3").exists()


def test_one_that_says_much_is_cut(foreign: Any, engine: Engine, rule_for: Any) -> None:  # noqa: F811
    waiting = proposed(ramble, foreign, engine, rule_for)

    assert len(waiting.preview) < ledger.PREVIEW_LIMIT + 100
    assert waiting.preview.endswith("[cut: 10000 characters in all]")


@pytest.mark.parametrize(
    ("amount", "told"), [("19.90", "40.00 EUR left."), ("59.91", "would be refused: only 59.90 EUR")]
)
def test_the_shops_refund_says_what_would_be_left(
    order: Order, thread: Thread, amount: str, told: str
) -> None:
    begun = current_run.set(RunContext(runs.send_message(thread, thread.owner, "go")))
    said = refund_preview(order.number, Decimal(amount))
    current_run.reset(begun)

    assert "total 59.90 EUR, refunded so far 0.00 EUR" in said
    assert told in said
