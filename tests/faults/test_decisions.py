"""Decisions that race, repeat, come late, and workers that die between them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest
from accounts import roles
from accounts.models import User
from assistants.shop.models import Refund
from django.db import connections
from runtime import decisions, runs
from runtime.exceptions import AlreadyDecided, NothingAsked
from runtime.models import Run, RunStatus, ToolCall, ToolState
from runtime.schemas import Decision

from tests.faults.lab import WELL, Lab
from tests.support.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

DECISIONS: list[Decision] = [
    {"type": "approve"},
    {"type": "reject", "message": "No."},
    {"type": "respond", "message": "Done by hand."},
]


@pytest.mark.fault("H1 decisions at one instant")
@pytest.mark.rounds(0.1)
@pytest.mark.parametrize("count", [2, 10])
def test_of_decisions_at_one_instant_one_wins(lab: Lab, person: Callable[..., User], count: int) -> None:
    approvers = [person(f"approver{number}", roles.APPROVERS, staff=True) for number in range(count)]
    with lab.worker():
        call = lab.ask(f"Refund order {lab.order()}")
        barrier = Barrier(count)

        def decide(user: User, decision: Decision) -> bool:
            barrier.wait()
            try:
                decisions.decide(user, call.pk, decision)
            except AlreadyDecided:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(count) as threads:
            said = [lab.random.choice(DECISIONS) for _ in approvers]
            won = list(threads.map(decide, approvers, said))
        lab.strike()
        lab.settle()

    call.refresh_from_db()
    assert won.count(True) == 1
    assert (call.decided_by, call.decision) == (approvers[won.index(True)], said[won.index(True)]["type"])
    assert Run.objects.filter(command__isnull=False).count() == 1
    assert Refund.objects.count() == (call.decision == "approve")


@pytest.mark.fault("H1 late, repeated and unknown answers")
def test_late_repeated_and_unknown_answers_change_nothing(lab: Lab) -> None:
    with lab.worker():
        call = lab.ask(f"Refund order {lab.order()}")
        with pytest.raises(NothingAsked):
            decisions.decide(lab.bob, uuid4(), {"type": "approve"})
        forged = runs.create_run(call.thread, user=lab.alice, command={"resume": {"whatever": "approved"}})
        lab.reach(forged, RunStatus.WAITING)
        assert ToolCall.objects.get(pk=call.pk).state == ToolState.WAITING

        lab.approve(call)
        for decision in DECISIONS:
            with pytest.raises(AlreadyDecided):
                decisions.decide(lab.bob, call.pk, decision)
        lab.settle()
        with pytest.raises(AlreadyDecided):
            lab.approve(call)

    assert Refund.objects.count() == 1
    assert Run.objects.count() == 3


@pytest.mark.fault("H6 killed between parallel approvals")
@pytest.mark.rounds(0.1)
def test_parallel_calls_approved_one_by_one_around_a_kill_run_once_each(lab: Lab) -> None:
    orders = [lab.order() for _ in range(3)]
    point = lab.random.choice(["before_effect:4", "after_effect:4"])  # three look-ups come first
    with lab.worker(COUNTERSIGN_TESTPOINT=point) as doomed:
        run = lab.say(f"Refund orders {', '.join(str(order) for order in orders)}")
        lab.reach(run, RunStatus.WAITING)
        first, *others = lab.random.sample(list(waiting(run)), 3)
        lab.approve(first)
        until(doomed.has_died)
        lab.strike()
    with lab.worker():
        for call in others:
            lab.approve(call)
            lab.settle()

    assert sorted(Refund.objects.values_list("order__number", flat=True)) == [
        order.number for order in orders
    ]


def waiting(run: Run) -> list[ToolCall]:
    return list(run.thread.tool_calls.filter(state=ToolState.WAITING))


@pytest.mark.fault("H5 stopped while one of its calls waits")
def test_a_turn_that_is_stopped_takes_back_what_it_asked(lab: Lab) -> None:
    with lab.worker():
        run = lab.say(
            f'call wait with {{"seconds": 60}} and e-mail ada@example.com about order {lab.order()}'
        )
        until(lambda: waiting(run), seconds=30)
        (call,) = waiting(run)
        runs.cancel_run(run)
        lab.strike()
        lab.settle(allowed=(*WELL, RunStatus.CANCELLED))
        with pytest.raises(AlreadyDecided):
            lab.approve(call)
        lab.say("hello", run.thread)
        lab.settle(allowed=(*WELL, RunStatus.CANCELLED))

    assert ToolCall.objects.get(pk=call.pk).state == ToolState.CANCELLED
    assert lab.mails() == []
