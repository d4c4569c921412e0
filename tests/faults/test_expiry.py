"""Deadlines of requests: met at the last moment, missed, and passed while everything was down."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from assistants.shop.models import Refund
from django.db import connections
from runtime import decisions
from runtime.exceptions import AlreadyDecided
from runtime.models import Run, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.faults.lab import Lab

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


def expire_in(seconds: float, call: ToolCall) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "UPDATE approvals_approvalrequest SET expires_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE tool_call_id = %s",
            [seconds, call.pk],
        )


@pytest.mark.fault("H3 decided at the moment of expiry")
@pytest.mark.rounds(0.1)
def test_a_decision_at_the_moment_of_expiry_counts_or_is_refused(lab: Lab) -> None:
    with lab.worker():
        calls = [lab.ask(f"Refund order {lab.order()}") for _ in range(4)]
        for call in calls:
            expire_in(1.0, call)
        time.sleep(0.8 + lab.random.uniform(0, 0.4))  # the fault strikes around the deadline
        lab.strike()

        def approve(call: ToolCall) -> bool:
            time.sleep(lab.random.uniform(0, 0.4))  # some in time, some too late
            try:
                decisions.decide(lab.bob, call.pk, {"type": "approve"})
            except AlreadyDecided:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(len(calls)) as threads:
            won = list(threads.map(approve, calls))
        lab.settle()
        for call in calls:  # those that were refused are ended by a worker's next look
            lab.reach_state(call, ToolState.DONE, ToolState.EXPIRED)
        lab.settle()

    states = [ToolCall.objects.get(pk=call.pk).state for call in calls]
    assert states == [ToolState.DONE if each else ToolState.EXPIRED for each in won]
    assert Refund.objects.count() == won.count(True)
    assert Run.objects.filter(command__isnull=False).count() == len(calls)


@pytest.mark.fault("H3 expired while everything was down")
def test_what_expired_while_no_worker_ran_does_not_run(lab: Lab) -> None:
    PolicyRule.objects.filter(tool="refund_order").update(expires_after=1)
    with lab.worker():
        call = lab.ask(f"Refund order {lab.order()}")
        assert ApprovalRequest.objects.get(tool_call=call).expires_at
    expire_in(0.0, call)
    with lab.worker():
        lab.strike()
        lab.reach_state(call, ToolState.EXPIRED)
        lab.settle()

    assert Refund.objects.count() == 0
    assert "could not" in call.thread.messages.latest("created_at").content  # the model has been told
