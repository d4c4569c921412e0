"""For whom a tool acts, and what it may show them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from assistants.shop.tools import refund_preview
from django.contrib.auth.models import Group
from runtime import decisions, runs
from runtime.context import RunContext, current_run
from runtime.engine import Engine
from runtime.models import Run, Thread, ToolState
from runtime.requester import may, requester

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[[Thread, str], Run]


@pytest.fixture
def guarded(order: Order) -> Group:
    group = Group.objects.create(name="Key accounts")
    order.group = group
    order.save()
    return group


def test_who_is_in_the_group_sees_its_orders(thread: Thread, turn: Turn, guarded: Group, alice: User) -> None:
    alice.groups.add(guarded)

    turn(thread, "look up order 1042")

    call = thread.tool_calls.get()
    assert call.state == ToolState.DONE
    assert "Ada" in call.result


def test_an_order_that_may_not_be_seen_is_answered_like_one_that_is_not_there(
    thread: Thread, turn: Turn, guarded: Group
) -> None:
    turn(thread, "look up order 1042")
    turn(thread, "look up order 4711")

    hidden, missing = thread.tool_calls.order_by("created_at")
    assert hidden.error == missing.error.replace("4711", "1042")


def test_the_preview_that_approvers_read_tells_nothing_either(thread: Thread, guarded: Group) -> None:
    begun = current_run.set(RunContext(runs.send_message(thread, thread.owner, "go")))
    with pytest.raises(ValueError, match="There is no order 1042"):
        refund_preview(1042, Decimal(5))
    current_run.reset(begun)


def test_rights_that_were_taken_meanwhile_are_gone_and_who_approves_lends_none(
    thread: Thread, turn: Turn, guarded: Group, rules: None, bob: User, engine: Engine, alice: User
) -> None:
    bob.groups.add(guarded)
    alice.groups.add(guarded)
    run = turn(thread, "Refund 5 of order 1042")
    call = thread.tool_calls.get(tool="refund_order")
    alice.groups.remove(guarded)

    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    engine.perform(str(run.resumed_by.get().pk))

    call.refresh_from_db()
    assert (call.state, call.error) == (ToolState.FAILED, "ValueError: There is no order 1042.")
    assert not Refund.objects.exists()


def test_somebody_who_was_switched_off_may_nothing(alice: User, order: Order) -> None:
    assert alice.has_perm("shop.view_order", order)
    alice.is_active = False

    assert not alice.has_perm("shop.view_order", order)


def test_without_a_turn_nobody_is_asked_for() -> None:
    with pytest.raises(LookupError):
        requester()
    with pytest.raises(LookupError):
        may("shop.view_order")
