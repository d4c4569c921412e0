"""Tools whose answer is lost, huge, unreadable or late."""

from __future__ import annotations

import json

import pytest
from assistants.shop.models import Refund
from django.contrib.auth.models import Group
from runtime import decisions, ledger
from runtime.models import Message, Run, RunStatus, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.faults.lab import Lab

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


def call(tool: str, **args: object) -> str:
    return f"call {tool} with {json.dumps(args)}"


def said() -> str:
    """The assistant's last words."""
    return Message.objects.filter(role="ai").latest("created_at").content


@pytest.mark.fault("T1 outcome unknown")
def test_a_ring_whose_answer_was_lost_is_not_repeated_and_a_person_is_asked(lab: Lab) -> None:
    approvers = Group.objects.get(name="Approvers")
    PolicyRule.objects.create(name="rings", tool="ring_unheard", verdict="allow", approvers=approvers)
    with lab.worker():
        run = lab.say(call("ring_unheard", key="a"))
        lab.strike()
        lab.settle()
        assert Run.objects.get(pk=run.pk).status == RunStatus.WAITING
        request = ApprovalRequest.objects.get()
        assert request.is_pending
        assert request.question == ApprovalRequest.Question.OUTCOME
        assert request.tool_call.state == ToolState.UNKNOWN

        decisions.decide(lab.bob, request.tool_call.pk, {"type": "respond", "message": "It rang."})
        lab.settle()

    assert lab.rings() == ["a"]
    assert "It rang." in said()


@pytest.mark.fault("T1 outcome unknown")
def test_a_refund_whose_answer_was_lost_is_asked_for_again_under_its_key(lab: Lab) -> None:
    with lab.worker():
        lab.say(call("refund_unheard", order_number=lab.order().number, lost=2))
        lab.strike()
        lab.settle()

    refund = ToolCall.objects.get()
    assert refund.state == ToolState.DONE
    assert lab.rings() == [f"{refund.pk}:1", f"{refund.pk}:2", f"{refund.pk}:3"]
    assert Refund.objects.count() == 1


@pytest.mark.fault("T1 outcome unknown")
def test_a_refund_that_never_answers_waits_for_a_person(lab: Lab) -> None:
    with lab.worker():
        lab.say(call("refund_unheard", order_number=lab.order().number, lost=99))
        lab.strike()
        lab.settle()

    assert ToolCall.objects.get().state == ToolState.UNKNOWN
    assert ApprovalRequest.objects.get().is_pending
    assert Refund.objects.count() == 1


@pytest.mark.fault("T2 fails after half of its work")
@pytest.mark.parametrize("size", [0, 50_000_000])
def test_a_tool_that_fails_after_half_of_its_work_is_told_to_the_model(lab: Lab, size: int) -> None:
    with lab.worker():
        run = lab.say(call("ring_half", key="a", size=size))
        lab.strike()
        lab.settle()

    failed = ToolCall.objects.get()
    assert Run.objects.get(pk=run.pk).status == RunStatus.SUCCESS
    assert failed.state == ToolState.FAILED
    assert len(failed.error) < ledger.RESULT_LIMIT + 100
    assert lab.rings() == ["a"]
    assert "The second bell is broken." in said()


@pytest.mark.fault("T2 returns 50 MB")
def test_a_result_of_50_mb_is_cut_and_the_model_is_told_so(lab: Lab) -> None:
    with lab.worker():
        lab.say(call("bring", key="a", what="50 MB"))
        lab.strike()
        lab.settle()

    note = "[cut: 50000000 characters in all]"
    result = ToolCall.objects.get().result
    assert result.endswith(note)
    assert len(result) < ledger.RESULT_LIMIT + 100
    assert note in said()


@pytest.mark.fault("T2 returns what can't be serialised")
@pytest.mark.parametrize("what", ["an object", "a broken character", "strange keys", "a knot"])
def test_a_result_that_can_not_be_serialised_is_kept_as_well_as_can_be(lab: Lab, what: str) -> None:
    with lab.worker():
        run = lab.say(call("bring", key="a", what=what))
        lab.strike()
        lab.settle()

    brought = ToolCall.objects.get()
    assert Run.objects.get(pk=run.pk).status == RunStatus.SUCCESS
    assert brought.state == ToolState.DONE
    assert brought.result
    assert lab.rings() == ["a"]


@pytest.mark.fault("W10 longer than several leases")
def test_a_tool_that_outlasts_several_leases_runs_once(lab: Lab) -> None:
    with lab.worker(COUNTERSIGN_RUN_LEASE="1", COUNTERSIGN_RUN_HEARTBEAT="0.2"), lab.worker():
        run = lab.say(call("ring", key="a", after=5))
        lab.strike()
        lab.settle()

    run.refresh_from_db()
    assert (run.status, run.attempt) == (RunStatus.SUCCESS, 1)
    assert lab.rings() == ["a"]
