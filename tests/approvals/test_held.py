"""What nobody voted for, PostgreSQL refuses, whoever writes it: a shell, a tool, a mistake of ours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from runtime.models import ToolCall, ToolState

from apps.approvals import requests
from apps.approvals.decisions import decide, withdraw
from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus, Vote
from tests.approvals.conftest import REFUND

APPROVE = {"type": "approve"}
WHY = "The customer waits at the counter."


def refused(rows, **fields):
    """Whether PostgreSQL refuses this update of all `rows`, and that it changed nothing."""
    before = list(rows.values())
    with pytest.raises(DatabaseError, match=r"nobody|stays"), transaction.atomic():
        rows.update(**fields)
    return list(rows.values()) == before


def requests_of(call):
    return ApprovalRequest.objects.filter(tool_call=call)


def voted(request, by, verdict="approve", **fields):
    digest = request.tool_call.args_digest
    given = {"principal": by, "args_digest": digest, **fields}
    return Vote.objects.create(request=request, voter=by, verdict=verdict, **given)


@pytest.mark.parametrize("status", ["approved", "rejected", "responded"])
def test_no_request_is_decided_by_writing_so(alice, bob, waiting, status):
    waiting(alice)

    assert refused(ApprovalRequest.objects, status=status)
    assert refused(ApprovalRequest.objects, status=status, decided_by=bob, decided_at=timezone.now())


def test_a_vote_for_something_else_decides_nothing(alice, bob, ben, waiting):
    request = waiting(alice)
    voted(request, bob, "reject")
    rows = ApprovalRequest.objects

    assert refused(rows, status="approved", decided_by=bob)
    voted(request, bob)
    assert refused(rows, status="approved", decided_by=ben)
    assert refused(rows, status="approved", decided_by=bob, via="break_glass")
    assert refused(rows, status="responded", decided_by=bob)
    assert rows.update(status="approved", decided_by=bob) == 1  # as the service does it


@pytest.mark.parametrize("state", ["approved", "rejected", "responded", "running", "proposed"])
def test_no_call_leaves_its_wait_by_writing_so(alice, bob, waiting, state):
    waiting(alice)

    assert refused(ToolCall.objects, state=state)
    assert refused(ToolCall.objects, state=state, decided_by=bob, decision="approve")


def test_no_call_that_was_cut_off_runs_again_by_writing_so(alice, bob, cut_off):
    cut_off(alice)

    assert refused(ToolCall.objects, state="approved", decided_by=bob)
    assert refused(ToolCall.objects, state="running")


def test_a_call_is_approved_by_its_newest_request_alone(alice, bob, waiting):
    request = waiting(alice)
    decide(bob, request.tool_call_id, APPROVE)
    call = ToolCall.objects.get()
    call.advance(ToolState.WAITING, reason="it no longer stands", decided_by=None, decision="")
    assert requests_of(call).count() == 2

    assert refused(ToolCall.objects, state="approved", decided_by=bob)


def test_a_call_is_approved_with_the_arguments_that_were_voted_on(alice, bob, waiting):
    request = waiting(alice)
    voted(request, bob)
    ApprovalRequest.objects.update(status="approved", decided_by=bob)

    assert refused(ToolCall.objects, state="approved", decided_by=bob, args={}, args_digest="0" * 64)


def test_half_the_votes_decide_nothing(alice, bob, ben, rule, waiting):
    PolicyRule.objects.filter(pk=rule.pk).update(quorum=2)
    request = waiting(alice)
    decide(bob, request.tool_call_id, APPROVE)

    assert refused(ApprovalRequest.objects, status="approved", decided_by=bob)
    assert refused(ApprovalRequest.objects, status="approved", decided_by=bob, quorum=1)
    assert refused(ApprovalRequest.objects, quorum=1)
    voted(request, ben, args_digest="0" * 64)
    assert refused(ApprovalRequest.objects, status="approved", decided_by=ben)


def test_votes_from_before_an_escalation_decide_nothing(alice, bob, ben, rule, waiting):
    PolicyRule.objects.filter(pk=rule.pk).update(quorum=2)
    request = waiting(alice)
    decide(bob, request.tool_call_id, APPROVE)
    ApprovalRequest.objects.update(escalated_at=timezone.now() + timedelta(seconds=1))
    voted(request, ben)

    assert refused(ApprovalRequest.objects, status="approved", decided_by=ben)


@pytest.mark.parametrize("end", ["approved", "rejected", "expired", "cancelled", "superseded"])
def test_what_is_settled_stays_so(alice, bob, waiting, end):
    request = waiting(alice)
    kind = {"approved": "approve", "rejected": "reject"}.get(end)
    if kind:
        decide(bob, request.tool_call_id, {"type": kind, "message": "so"})
    else:
        ApprovalRequest.objects.update(status=end)

    for status in ("pending", "approved", "rejected"):
        if status != end:
            assert refused(ApprovalRequest.objects, status=status, decided_by=bob)


def test_no_request_is_turned_to_another_call(alice, bob, waiting, proposed):
    waiting(alice)
    other = proposed(alice, args={**REFUND, "amount": "9999.00"})

    assert refused(ApprovalRequest.objects, tool_call=other)
    assert refused(ApprovalRequest.objects, question="outcome")


def test_a_table_of_the_session_does_not_pass_for_ours(alice, bob, waiting):
    request = waiting(alice)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE approvals_vote (LIKE public.approvals_vote INCLUDING DEFAULTS)")
        cursor.execute(
            "INSERT INTO pg_temp.approvals_vote"
            " (id, request_id, voter_id, principal_id, verdict, via, args_digest, reason)"
            " VALUES (1, %s, %s, %s, 'approve', 'rule', %s, '')",
            [request.pk, bob.pk, bob.pk, request.tool_call.args_digest],
        )

    assert refused(ApprovalRequest.objects, status="approved", decided_by=bob)


@pytest.mark.parametrize("kind", ["approve", "edit", "reject", "respond"])
def test_every_decision_goes_through(alice, bob, waiting, kind):
    more = {"args": {**REFUND, "amount": "1.00"}} if kind == "edit" else {"message": "so"}

    call = decide(bob, waiting(alice).tool_call_id, {"type": kind, **more})

    assert call.state == {"reject": "rejected", "respond": "responded"}.get(kind, "approved")


def test_what_ends_a_wait_without_a_decision_goes_through(alice, admin, bob, rule, waiting):
    assert withdraw(alice, waiting(alice).tool_call_id).state == "cancelled"
    late = waiting(alice)
    requests_of(late.tool_call).update(expires_at=timezone.now() - timedelta(minutes=1))
    old = waiting(alice)
    PolicyRule.objects.filter(pk=rule.pk).update(needs_reason=True)
    requests.look_at_deadlines()
    glass = {**APPROVE, "override": True, "message": WHY}

    assert requests_of(late.tool_call).get().status == RequestStatus.EXPIRED
    assert list(requests_of(old.tool_call).values_list("status", flat=True)) == ["superseded", "pending"]
    assert decide(admin, old.tool_call_id, glass).state == "approved"


def test_a_decision_costs_less_than_a_millisecond_more(alice, bob, waiting):
    """Of all that PostgreSQL does for an UPDATE, the time in our triggers: as EXPLAIN counts it."""
    spent = []
    for _ in range(20):
        request = waiting(alice)
        voted(request, bob)
        spent.append(
            _in_triggers(
                "UPDATE approvals_approvalrequest SET status = 'approved', decided_by_id = %s WHERE id = %s",
                [bob.pk, request.pk],
            )
            + _in_triggers(
                "UPDATE runtime_toolcall SET state = 'approved', decided_by_id = %s WHERE id = %s",
                [bob.pk, request.tool_call_id],
            )
        )

    assert sorted(spent)[10] < 1.0


def _in_triggers(statement, values):
    """Milliseconds."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
        [plan] = cursor.fetchone()[0]
    guards = [each for each in plan["Triggers"] if each["Trigger Name"].endswith("_guard")]
    assert guards
    return sum(each["Time"] for each in guards)
