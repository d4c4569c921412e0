"""Ways around an approval that must lead nowhere, and ways to be stuck that must end."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils import timezone
from langgraph.types import Interrupt
from runtime import admission, ledger, questions, runs
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision
from runtime.models import AuditEvent, ToolCall, ToolState

from apps.approvals import grants, policy, requests
from apps.approvals.decisions import decide
from apps.approvals.models import ApprovalRequest, Condition, Delegation, PolicyRule, RequestStatus
from apps.approvals.notifications.models import Delivery
from tests.approvals.conftest import REFUND, edited, page_of, post
from tests.support.threads import together

APPROVE = {"type": "approve"}
WHY = "The customer waits at the counter."
ANY = {name: {"any": True} for name in REFUND}


def another_rule(rule, **fields):
    given = {"name": "first", "priority": 1, "tool": "refund_order", "verdict": "ask", **fields}
    return PolicyRule.objects.create(approvers=rule.approvers, **given)


def over_a_thousand(rule, **fields):
    high = another_rule(rule, name="high", **fields)
    Condition.objects.create(rule=high, argument="amount", operator="more than", value="1000")
    return high


def change(rule, **fields):
    PolicyRule.objects.filter(pk=rule.pk).update(**fields)
    rule.refresh_from_db()


def grant_any(by, request):
    ends = timezone.now() + timedelta(hours=1)
    return grants.give(by, request, ANY, limit=5, ends_at=ends, in_thread=False)


# Nothing is stuck


def test_a_request_that_another_rule_came_to_is_asked_by_it_and_decided(alice, bob, rule, waiting):
    request = waiting(alice)
    first = another_rule(rule)

    with pytest.raises(AlreadyDecided, match="asked again"):
        decide(bob, request.tool_call_id, APPROVE)

    anew = ApprovalRequest.objects.get(status=RequestStatus.PENDING)
    assert anew.rule == first
    assert decide(bob, request.tool_call_id, APPROVE).state == ToolState.APPROVED


def test_a_sum_that_has_grown_meanwhile_is_asked_by_the_rule_for_it(alice, bob, rule, proposed):
    small = another_rule(rule, name="small")
    Condition.objects.create(rule=small, argument="sum.amount.today", operator="at most", value="100")
    one, two = proposed(alice), proposed(alice)
    for call in (one, two):
        call.advance("waiting", policy="small")
    decide(bob, one.pk, APPROVE).advance("running", started_at=timezone.now())

    with pytest.raises(AlreadyDecided):
        decide(bob, two.pk, APPROVE)

    assert decide(bob, two.pk, APPROVE).state == ToolState.APPROVED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("threads_closed")
def test_a_decision_and_a_stop_never_wait_in_a_circle(alice, bob, waiting, monkeypatch):
    request = waiting(alice)
    meet = threading.Barrier(2, timeout=2)
    resume, advance = runs.resume, ToolCall.advance

    def slow_resume(call):
        with suppress(threading.BrokenBarrierError):
            meet.wait()
        return resume(call)

    def slow_advance(call, to, **fields):
        is_moved = advance(call, to, **fields)
        if threading.current_thread().name == "work 1":
            with suppress(threading.BrokenBarrierError):
                meet.wait()
        return is_moved

    def stop():
        with transaction.atomic():
            ledger.abandon(request.tool_call.run)

    monkeypatch.setattr(runs, "resume", slow_resume)
    monkeypatch.setattr(ToolCall, "advance", slow_advance)
    errors = together(lambda: decide(bob, request.tool_call_id, APPROVE), stop)

    assert not any("deadlock" in error for error in errors)
    request.tool_call.refresh_from_db()
    assert request.tool_call.state in (ToolState.APPROVED, ToolState.CANCELLED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("threads_closed")
def test_a_decision_and_a_newer_message_never_wait_in_a_circle(alice, bob, waiting, monkeypatch):
    request = waiting(alice)
    meet = threading.Barrier(2, timeout=2)
    resume, meets = runs.resume, admission.meet_waiting

    def slow_resume(call):
        with suppress(threading.BrokenBarrierError):
            meet.wait()
        return resume(call)

    def slow_meet(*args):
        with suppress(threading.BrokenBarrierError):
            meet.wait()
        return meets(*args)

    monkeypatch.setattr(runs, "resume", slow_resume)
    monkeypatch.setattr(admission, "meet_waiting", slow_meet)
    errors = together(
        lambda: decide(bob, request.tool_call_id, APPROVE),
        lambda: runs.send_message(request.tool_call.thread, alice, "no, wait", when_waiting="withdraw"),
    )

    assert not any("deadlock" in error for error in errors)


# Grants and sums


def test_actions_of_a_graph_count_in_sums(alice, rule, proposed):
    small = another_rule(rule, name="small", verdict="allow")
    Condition.objects.create(rule=small, argument="sum.amount.today", operator="at most", value="100")
    states = []
    for number in range(3):
        action = proposed(alice, kind="action", interrupt_id=f"i{number}", takes=["approve", "reject"])
        ledger._judge(action)
        if ledger.is_decided([action]):
            ledger.hand_over([action])
        action.refresh_from_db()
        states.append(action.state)

    assert states == ["done", "waiting", "waiting"]


def test_a_grant_is_for_the_rule_that_asked(alice, bob, rule, waiting, proposed):
    grant_any(bob, waiting(alice))
    over_a_thousand(rule, needs_reason=True)

    assert policy.judge(proposed(alice)).kind == "allow"
    assert policy.judge(proposed(alice, args={**REFUND, "amount": "99999.00"})).kind == "ask"


def test_a_use_of_a_grant_ends_with_the_rule_that_let_it(alice, bob, ben, rule, waiting, proposed):
    grant_any(bob, waiting(alice))
    call = proposed(alice)
    call.advance("approved", policy=policy.judge(call).rule)
    assert policy.objection(call) == ""

    change(rule, quorum=2)

    assert policy.objection(call)


def test_nothing_is_granted_for_a_graphs_own_actions(alice, bob, waiting):
    request = waiting(alice, kind="action", interrupt_id="i", takes=["approve"])

    with pytest.raises(DecisionRefused):
        grant_any(bob, request)


# Several people


def test_running_again_needs_as_many_as_running(alice, bob, ben, rule, cut_off):
    change(rule, quorum=2, needs_reason=True)
    request = cut_off(alice)
    with pytest.raises(InvalidDecision):
        decide(bob, request.tool_call_id, APPROVE)

    assert decide(bob, request.tool_call_id, {**APPROVE, "message": "It is safe."}).state == "unknown"
    call = decide(ben, request.tool_call_id, {**APPROVE, "message": "I looked."})

    assert call.state == ToolState.APPROVED
    assert policy.objection(call) == ""


def test_nobody_alone_answers_in_the_place_of_a_tool_for_two(alice, bob, ben, rule, waiting):
    change(rule, quorum=2)

    with pytest.raises(InvalidDecision):
        decide(bob, waiting(alice).tool_call_id, {"type": "respond", "message": "Refunded."})


def test_a_question_is_not_asked_of_several(alice, bob, ben, rule, proposed):
    change(rule, quorum=2)
    question = proposed(alice, "interrupt", {"question": "Wipe?"}, kind="question", interrupt_id="i")

    assert policy.judge(question).kind == "deny"


def test_an_edit_back_to_what_one_has_approved_is_refused(alice, bob, ben, person, rule, waiting):
    person("cem", "Approvers", staff=True)
    change(rule, quorum=3)
    call_id = waiting(alice).tool_call_id
    decide(bob, call_id, APPROVE)
    decide(ben, call_id, {"type": "edit", "args": {**REFUND, "reason": "other"}})

    with pytest.raises(AlreadyDecided, match="has approved this already"):
        decide(bob, call_id, {"type": "edit", "args": REFUND})


def test_half_a_decision_is_late_as_well(alice, bob, ben, rule, waiting):
    change(rule, quorum=2)
    request = waiting(alice)
    ApprovalRequest.objects.filter(pk=request.pk).update(expires_at=timezone.now() - timedelta(minutes=1))

    with pytest.raises(AlreadyDecided, match="expired"):
        decide(bob, request.tool_call_id, {"type": "edit", "args": {**REFUND, "amount": "1.00"}})


def test_an_edit_says_what_is_to_run(alice, bob, proposed, rule):
    schema = {"type": "object", "properties": {"only": {"type": "string"}}}
    call = proposed(alice, "wipe", {"only": "tmp"}, args_schema=schema)
    call.advance("waiting", policy=rule.name)

    with pytest.raises(InvalidDecision, match="with which arguments"):
        decide(bob, call.pk, {"type": "edit"})


# Delegation and break-glass


def test_a_delegation_that_was_ended_takes_its_votes_along(alice, bob, person, rule, waiting):
    others = Group.objects.create(name="Others")
    others.permissions.set(Permission.objects.filter(codename="decide"))
    frank = person("frank", "Others", staff=True)
    now, hour = timezone.now(), timedelta(hours=1)
    away = Delegation.objects.create(delegator=bob, delegate=frank, starts_at=now - hour, ends_at=now + hour)
    call = decide(frank, waiting(alice).tool_call_id, APPROVE)
    assert policy.objection(call) == ""

    away.revoked_at = timezone.now()
    away.save()

    assert "delegation was ended" in policy.objection(call)


def test_nobody_makes_themselves_a_delegate(bob, admin, signed_in):
    now = timezone.localtime()
    fields = {"delegator": bob.pk, "delegate": admin.pk, "reason": ""}
    for name, moment in {"starts_at": now, "ends_at": now + timedelta(days=1)}.items():
        fields |= {f"{name}_0": moment.date().isoformat(), f"{name}_1": moment.time().isoformat("seconds")}
    url = "/admin/approvals/delegation/add/"

    assert "to themselves" in signed_in(admin).post(url, fields).content.decode()
    past = {**fields, "delegate": bob.pk, "delegator": admin.pk, "starts_at_0": "2020-01-01"}
    assert "begins in the past" in signed_in(admin).post(url, past).content.decode()
    assert not Delegation.objects.exists()


def test_the_glass_is_never_broken_in_silence(alice, bob, admin, person, proposed):
    other = person("root2", staff=True, superuser=True)
    PolicyRule.objects.create(name="me", verdict="ask", requester_confirms=True)
    call = proposed(alice)
    call.advance("waiting", policy="me")

    decide(admin, call.pk, {**APPROVE, "override": True, "message": WHY})

    told = Delivery.objects.filter(kind="break_glass").values_list("person", flat=True)
    assert other.pk in told


def test_an_override_changes_nothing(alice, bob, admin, waiting):
    with pytest.raises(InvalidDecision):
        decide(
            admin,
            waiting(alice).tool_call_id,
            {"type": "edit", "override": True, "message": WHY, "args": {**REFUND, "amount": "1.00"}},
        )


def cut_off_by_no_rule(call, policy="not sensitive"):
    for state in ("approved", "running", "unknown"):
        assert call.advance(state, policy=policy)
    return call.approval_requests.get()


@pytest.mark.parametrize("policy", ["not sensitive", "ok"])
def test_what_no_rule_asks_about_is_settled_by_an_approver(alice, bob, ben, proposed, signed_in, policy):
    PolicyRule.objects.create(name="ok", verdict="allow", tool="refund_order")
    request = cut_off_by_no_rule(proposed(alice), policy)
    client = signed_in(bob)
    assert "it took effect" in client.get(page_of(request)).content.decode()

    assert post(client, request, "respond", answer="Refund 17 was made.").status_code == 302

    request.tool_call.refresh_from_db()
    assert (request.tool_call.state, request.tool_call.result) == ("responded", "Refund 17 was made.")


def test_nobody_settles_their_own_call_that_was_cut_off(bob, ben, dave, alice, proposed):
    request = cut_off_by_no_rule(proposed(bob))

    for person in (bob, alice, dave):
        with pytest.raises(DecisionRefused):
            decide(person, request.tool_call_id, {"type": "respond", "message": "It was made."})
    assert decide(ben, request.tool_call_id, {"type": "reject", "message": "Not made."}).state == "failed"


def test_what_a_vanished_rule_named_people_for_is_settled_by_approvers(alice, bob, ben, cut_off, rule):
    change(rule, approvers=None)
    rule.people.add(ben)
    request = cut_off(alice)
    with pytest.raises(DecisionRefused):
        decide(bob, request.tool_call_id, {"type": "reject", "message": "Not made."})
    rule.delete()

    requests.look_at_deadlines()

    assert decide(bob, request.tool_call_id, {"type": "reject", "message": "Not made."}).state == "failed"


# What is told to whom


def test_an_action_that_can_not_be_read_is_no_question_to_its_requester():
    value = {"type": "tool_approval", "name": "wipe" + "x" * 97, "args": {"all": True}}

    proposal = questions.proposals(Interrupt(value=value, id="i"))[0]

    assert "nobody could review" in proposal.flaw


def test_the_audit_keeps_no_arguments_of_a_grant(alice, bob, waiting):
    to = "private.person@example.com"
    request = waiting(alice, "send_email", {"to": to, "subject": "s", "body": "b"})
    pattern = {"to": {"is": to}, "subject": {"any": True}, "body": {"any": True}}
    grants.give(bob, request, pattern, limit=1, ends_at=timezone.now() + timedelta(hours=1), in_thread=True)

    assert AuditEvent.objects.filter(body__contains="grant.created").exists()
    assert not AuditEvent.objects.filter(body__contains=to).exists()


def test_who_may_not_see_calls_tries_none_of_others(alice, person, rule, signed_in):
    uma = person("uma", staff=True)
    uma.user_permissions.add(Permission.objects.get(codename="view_policyrule"))
    alice.groups.add(Group.objects.create(name="Watchlist"))
    Condition.objects.create(rule=rule, argument="requester.group", operator="is", value="Nobody")

    answer = signed_in(uma).post(
        "/admin/approvals/policyrule/try/",
        {"assistant": "", "tool": "refund_order", "requester": "alice", "arguments": "{}"},
    )

    assert "Watchlist" not in answer.content.decode()
    assert "You may not see other people" in answer.content.decode()


def test_a_bad_edit_beside_a_good_one_leaves_nothing_behind(alice, bob, rule, waiting, signed_in):
    over_a_thousand(rule, verdict="deny")
    request = waiting(alice)

    assert post(signed_in(bob), request, "edit", **edited(amount="5000")).status_code == 422
    requests.look_at_deadlines()
    assert ApprovalRequest.objects.get().is_pending
