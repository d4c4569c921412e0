"""Decisions that race, repeat, come late, and workers that die between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from accounts import roles
from accounts.models import User
from assistants.shop.models import Refund
from django.contrib.auth.models import Group
from django.db import connection, connections
from django.test import Client
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pytest_django.fixtures import Settings
from runtime import decisions, runs
from runtime.exceptions import AlreadyDecided, InvalidDecision, NothingAsked
from runtime.models import ACTIVE, TOOL_TRANSITIONS, Run, RunStatus, ToolCall, ToolState
from runtime.schemas import Decision

from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.approvals.conftest import page_of, post
from tests.faults.lab import WELL, Lab
from tests.support.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

MAIL = "e-mail ada@example.com about order"
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
        barrier = Barrier(count, timeout=30)

        def decide(user: User, decision: Decision) -> bool:
            barrier.wait()
            return has_won(user, call, decision)

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


@pytest.mark.fault("H4 resumed again")
def test_what_was_decided_and_carried_out_is_not_resumed_again(lab: Lab) -> None:
    with lab.worker():
        call = lab.approve(lab.ask(f"Refund order {lab.order()}"))
        lab.settle()
        before = transcript(call)
        for command in old_commands(call):
            runs.create_run(call.thread, user=lab.alice, command=command)
            lab.settle()

    assert transcript(call) == before
    assert Refund.objects.count() == 1


@pytest.mark.fault("H4 resumed with an old interrupt")
def test_an_old_decision_lets_nothing_through_that_is_asked_now(lab: Lab) -> None:
    with lab.worker():
        old = lab.approve(lab.ask(f"Refund order {lab.order()}"))
        lab.settle()
        new = lab.say(f"Refund order {lab.order()}", old.thread)
        lab.reach(new, RunStatus.WAITING)
        for command in old_commands(old):
            run = runs.create_run(old.thread, user=lab.alice, command=command)
            lab.reach(run, RunStatus.WAITING)
        assert Refund.objects.count() == 1

        (call,) = waiting(new)
        lab.approve(call)
        lab.settle()

    assert Refund.objects.count() == 2


def old_commands(call: ToolCall) -> list[dict[str, object]]:
    """What a client of LangGraph sends to resume what `call` waited on: a bare value, and by the interrupt's id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT blob FROM checkpoint_writes WHERE thread_id = %s AND channel = '__interrupt__'",
            [str(call.thread_id)],
        )
        found = [JsonPlusSerializer().loads_typed(("msgpack", bytes(blob))) for (blob,) in cursor.fetchall()]
    ids = {interrupt.id for each in found for interrupt in each}
    assert ids
    return [{"resume": "approve"}, {"resume": dict.fromkeys(ids, "approve")}]


def transcript(call: ToolCall) -> list[tuple[str, str]]:
    return list(call.thread.messages.order_by("pk").values_list("role", "content"))


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
        run = lab.say(f'call wait with {{"seconds": 60}} and {MAIL} {lab.order()}')
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


@pytest.mark.fault("H7 approver loses the right while looking")
@pytest.mark.parametrize("loss", ["group", "permission", "account"])
def test_who_may_no_longer_decide_is_refused_on_the_page_they_still_see(
    lab: Lab, signed_in: Callable[[User], Client], settings: Settings, loss: str
) -> None:
    settings.STATIC_ROOT = lab.home
    with lab.worker():
        call = lab.ask(f"Refund order {lab.order()}")
        request, client = ApprovalRequest.objects.get(), signed_in(lab.bob)
        assert client.get(page_of(request)).status_code == 200

        match loss:
            case "group":
                lab.bob.groups.set([Group.objects.create(name="Others")])
            case "permission":
                Group.objects.get(name="Approvers").permissions.clear()
            case "account":
                User.objects.filter(pk=lab.bob.pk).update(is_active=False)  # which signs him out
        answer = post(client, request, "approve")
        lab.settle()

    assert answer.status_code == (302 if loss == "account" else 403)
    assert ToolCall.objects.get(pk=call.pk).state == ToolState.WAITING
    assert Refund.objects.count() == 0


@pytest.mark.fault("H8 policy changed while a call waits")
@pytest.mark.rounds(0.2)
@pytest.mark.parametrize("is_approved", [False, True], ids=["while they wait", "after the approvals"])
def test_nothing_runs_on_the_consent_of_a_rule_that_changed(lab: Lab, is_approved: bool) -> None:
    with lab.worker():
        refund = lab.ask(f"Refund order {lab.order()}")
        mail = lab.ask(f"E-mail ada@example.com about order {lab.order()}")
    if is_approved:  # no worker is there to carry it out
        lab.approve_all()
    refunds, mails = (PolicyRule.objects.filter(tool=call.tool) for call in (refund, mail))
    change = lab.random.choice(["deleted", "switched off", "denies"])
    print(change)
    match change:
        case "deleted":
            refunds.delete()
        case "switched off":
            refunds.update(is_enabled=False)
        case _:
            refunds.update(verdict="deny")
    mails.update(approvers=Group.objects.create(name="Others"))
    is_denied = change == "denies"
    if not is_approved:
        with pytest.raises(AlreadyDecided, match="policy has changed"):
            lab.approve(mail)
        with pytest.raises(InvalidDecision) if is_denied else nullcontext():
            lab.approve(refund)
    with lab.worker():
        lab.strike()
        lab.settle()

    waits_on = is_denied and not is_approved  # somebody has to reject it
    states = {call.tool: call.state for call in ToolCall.objects.filter(sensitive=True)}
    assert states == {
        "refund_order": ToolState.WAITING if waits_on else ToolState.DENIED,
        "send_email": ToolState.WAITING,
    }
    assert Refund.objects.count() == 0
    assert lab.mails() == []


@pytest.mark.fault("P5 decisions crosswise, and against a Stop")
def test_decisions_that_cross_each_other_and_a_stop_come_to_one_end(
    lab: Lab, person: Callable[..., User]
) -> None:
    approvers = [person(f"approver{number}", roles.APPROVERS, staff=True) for number in range(2)]
    with lab.worker():
        asked = [lab.say(f"Refund orders {lab.order()}, {lab.order()}") for _ in range(4)]
        asked += [lab.say(f'call wait with {{"seconds": 60}} and {MAIL} {lab.order()}') for _ in range(4)]
        until(lambda: ToolCall.objects.filter(state=ToolState.WAITING).count() == 12, seconds=30)
        calls = list(ToolCall.objects.filter(state=ToolState.WAITING).order_by("thread", "pk"))
        stopped = {run.thread_id for run in asked[2:]}
        barrier = Barrier(3, timeout=30)

        def decide(user: User, calls: list[ToolCall]) -> list[UUID]:
            barrier.wait()
            return [call.pk for call in calls if has_won(user, call, lab.random.choice(DECISIONS))]

        def stop() -> None:
            barrier.wait()
            for run in Run.objects.filter(thread__in=stopped, status__in=ACTIVE).order_by("thread"):
                runs.cancel_run(run)
            connections.close_all()

        lab.strike()
        with ThreadPoolExecutor(3) as threads:
            stopping = threads.submit(stop)
            won = list(threads.map(decide, approvers, [calls, calls[::-1]]))
            stopping.result()
        lab.settle(allowed=(*WELL, RunStatus.CANCELLED))

    winners = Counter(won[0] + won[1])
    assert max(winners.values()) == 1
    assert {call.pk for call in calls if call.thread_id not in stopped} <= set(winners)
    assert not ToolCall.objects.filter(
        pk__in=[call.pk for call in calls], state__in=TOOL_TRANSITIONS
    ).exists()


def has_won(user: User, call: ToolCall, decision: Decision) -> bool:
    try:
        decisions.decide(user, call.pk, decision)
    except AlreadyDecided:
        return False
    finally:
        connections.close_all()
    return True
