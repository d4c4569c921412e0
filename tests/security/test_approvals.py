"""Attacks 47 to 62: ways around a decision."""

from __future__ import annotations

from typing import Any

import pytest
from accounts.scopes import Scope
from assistants.shop.models import Refund
from django.db import DatabaseError, transaction
from django.utils import timezone
from runtime import decisions, ledger, policy
from runtime.exceptions import RuntimeRefusal
from runtime.models import RunStatus, ThreadState, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, Condition, EditBound, PolicyRule
from tests.approvals.conftest import REFUND, edited, fresh, page_of, pass_by, post
from tests.approvals.test_matrix import DECIDES, DOORS, READING, LangGraphProgram, at_rest, by_api
from tests.runtime.test_gateway import call, drop, foreign, rule_for  # noqa: F401  (fixtures)
from tests.security.registry import attack
from tests.security.without import index, patched, trigger
from tests.support.engines import take_turn
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db

APPROVE: Any = {"type": "approve"}


def outcome_of(user: Any, request: ApprovalRequest, decision: Any) -> str:
    """What a decision comes to: the refusal's status, or the state of the call."""
    try:
        return decisions.decide(user, request.tool_call_id, decision).state
    except RuntimeRefusal as refusal:
        return str(refusal.status)


def nothing(*args: Any, **kwargs: Any) -> None:
    """A check that never objects."""


def close_anyhow(request: ApprovalRequest, status: str, **fields: Any) -> bool:
    """`ApprovalRequest.close` without its condition."""
    fields.pop("in_time", None)
    return ApprovalRequest.objects.filter(pk=request.pk).update(status=status, **fields) == 1


advance = ToolCall.advance


def approve_anyhow(tool_call: ToolCall, state: str, **fields: Any) -> bool:
    """`ToolCall.advance` without its condition, where it is to be approved."""
    if state != ToolState.APPROVED:
        return advance(tool_call, state, **fields)
    tool_call.state = state
    return ToolCall.objects.filter(pk=tool_call.pk).update(state=state, **fields) == 1


ALL_DOORS = sorted(set(DOORS) - set(READING))


@attack(
    47,
    "the requester, who is an approver too, approves their own call: page, bulk action, API, SDK, command",
    "refused at each door",
    control="nobody decides on a call of their own run",
    without=patched("apps.approvals.permissions.confirms_alone", lambda request: True),
    held=[],
    fallen=ALL_DOORS,
    known_as="ASVS 2.3.5, ASI03",
)
@pytest.mark.django_db(transaction=True)  # a socket looks at it from another thread
def test_47_the_requester_approves(person, waiting):
    requester = person("requester", "Approvers", "Chat users", staff=True)

    return [door for door in ALL_DOORS if DOORS[door](requester, waiting(requester)) == DECIDES]


@attack(
    47,
    "a superuser approves a call of their own run",
    "403",
    control="four eyes are a check of data, not of a permission",
    without=patched("apps.approvals.permissions.confirms_alone", lambda request: True),
    held="403",
    fallen="approved",
    known_as="ASVS 2.3.5",
)
def test_47_a_superuser_approves_their_own(admin, bob, waiting):
    return outcome_of(admin, waiting(admin), APPROVE)


@attack(
    47,
    "a superuser breaks the glass for a call of their own run",
    "403",
    control="the glass is not broken for oneself",
    without=patched("apps.approvals.decisions.may_override", lambda user, request: True),
    held="403",
    fallen="approved",
)
def test_47_a_superuser_breaks_the_glass_for_themselves(admin, bob, waiting):
    override = {**APPROVE, "override": True, "message": "The customer waits at the counter."}
    return outcome_of(admin, waiting(admin), override)


@attack(
    49,
    "a new run is started on a thread whose call waits",
    "409",
    control="one thread, one question at a time",
    without=patched("runtime.admission.meet_waiting", nothing),
    held=(409, 1),
    fallen=(200, 2),
    known_as="ASI02",
)
def test_49_more_input_while_a_call_waits(alice, waiting):
    request = waiting(alice)
    at_rest(request)
    body = {"assistant_id": "shop", "input": {"messages": [{"role": "user", "content": "go on"}]}}
    thread = request.tool_call.thread
    answer = LangGraphProgram(key_of(alice)).post(f"/threads/{thread.pk}/runs", body)
    return answer.status_code, thread.runs.count()


@attack(
    49,
    '`update_state(as_node="tools")` writes the answer of a tool whose call waits',
    "409",
    control="the state of a thread that waits is not written",
    without=patched("apps.chat.langgraph.answers.is_waiting", lambda thread: False),
    held=409,
    fallen=503,  # it would be done: no worker is there to do it
    known_as="ASI02",
)
def test_49_the_state_is_written_past_the_gate(alice, waiting):
    request = waiting(alice)
    at_rest(request)
    body = {"values": {"messages": [{"role": "user", "content": "done"}]}, "as_node": "tools"}
    path = f"/threads/{request.tool_call.thread_id}/state"
    return LangGraphProgram(key_of(alice)).post(path, body).status_code


@attack(
    49,
    "a run from a checkpoint before the gate",
    "409",
    control="nothing begins at an earlier checkpoint while a call waits",
    without=[
        patched("apps.chat.langgraph.states.check_fork", nothing),
        patched("apps.chat.langgraph.states.refuse_unsettled", nothing),
        patched("runtime.admission.meet_waiting", nothing),
    ],
    held=409,
    fallen=200,
)
def test_49_a_run_from_before_the_gate(alice, waiting):
    request = waiting(alice)
    at_rest(request)
    thread_id = request.tool_call.thread_id
    ThreadState.objects.filter(thread=thread_id).update(checkpoint={"checkpoint_id": "newest"})
    before = "1ef00000-0000-6000-8000-000000000000"
    body = {
        "assistant_id": "shop",
        "checkpoint_id": before,
        "input": {"messages": [{"role": "user", "content": "again"}]},
    }
    path = f"/threads/{thread_id}/runs"
    return LangGraphProgram(key_of(alice)).post(path, body).status_code


@attack(
    49,
    "a program asks for no interrupts and a thousand million steps (`interrupt_before=[]`, `recursion_limit=1e9`)",
    "accepted, and the call waits all the same: 0 effects",
    control="the gateway is inside the tool, not in the graph's configuration",
    without=[
        patched("runtime.policy.judge", lambda tool_call: policy.Verdict("allow", "none")),
        patched("runtime.policy.objection", lambda tool_call: ""),
    ],
    held=("waiting", 0),
    fallen=("done", 1),
    known_as="ASI02",
)
@pytest.mark.django_db(transaction=True)
def test_49_a_configuration_switches_no_gate_off(alice, thread, order, rules, engine):
    body = {
        "assistant_id": "shop",
        "input": {"messages": [{"role": "user", "content": "Refund order 1042"}]},
        "interrupt_before": [],
        "interrupt_after": [],
        "config": {"recursion_limit": 1_000_000_000, "configurable": {"__pregel_resuming": True}},
    }
    made = LangGraphProgram(key_of(alice)).post(f"/threads/{thread.pk}/runs", body).json()
    engine.perform(made["run_id"])
    return thread.tool_calls.get(tool="refund_order").state, Refund.objects.count()


@attack(
    50,
    "an edit reaches further than the rule's bounds: another order, a larger amount, another reason",
    "422, and it waits on",
    control="edits keep within bounds",
    without=patched("apps.approvals.outcomes._hold_within_bounds", nothing),
    held={(422, "pending")},
    fallen={(302, "approved")},
)
def test_50_an_edit_out_of_bounds(alice, bob, rule, waiting, signed_in):
    EditBound.objects.create(rule=rule, argument="amount", operator="at most", value="60")
    found = set()
    for change in ({"amount": "60.01"}, {"order_number": "1043"}, {"reason": "other"}):
        request = waiting(alice)
        answer = post(signed_in(bob), request, "edit", **edited(**change))
        found.add((answer.status_code, fresh(request).status))
    return found


@attack(
    50,
    "an edit adds an argument that the tool does not have, or one of another kind",
    "422",
    control="edits are held against the tool's schema",
    without=patched("apps.approvals.arguments.checked", lambda args, schema: args),
    held={"422"},
    fallen={"approved"},
)
def test_50_an_edit_that_the_tool_does_not_take(alice, bob, rule, waiting):
    wrong = ({**REFUND, "approved_by": "bob"}, {**REFUND, "amount": "-5"}, {**REFUND, "order_number": "x"})
    return {outcome_of(bob, waiting(alice), {"type": "edit", "args": args}) for args in wrong}


@attack(
    50,
    "an edit makes it a call of another tool",
    "422",
    control="a decision can't name another tool",
    without=patched("apps.chat.langgraph.answers._edited", lambda call, action: action["args"]),
    held=422,
    fallen=200,
)
def test_50_an_edit_to_another_tool(alice, rule, waiting):
    PolicyRule.objects.filter(pk=rule.pk).update(requester_confirms=True)
    request = waiting(alice)
    at_rest(request)
    edit = {"type": "edit", "edited_action": {"name": "wipe", "args": REFUND}}
    body = {"assistant_id": "shop", "command": {"resume": {"decisions": [edit]}}}
    path = f"/threads/{request.tool_call.thread_id}/runs"
    return LangGraphProgram(key_of(alice)).post(path, body).status_code


@attack(
    51,
    "an edit raises the call into what another group decides on",
    "asked again, of that group",
    control="the policy judges edited arguments anew",
    without=[
        patched("apps.approvals.outcomes.needs_other_rule", lambda request, args: False),
        patched("apps.approvals.outcomes.hold_against_policy", nothing),
    ],
    held="waiting",
    fallen="approved",
    known_as="ASVS 15.4.2",
)
def test_51_an_edit_into_another_class(alice, bob, frank, finance, rule, waiting):
    big = PolicyRule.objects.create(
        name="big", tool="refund_order", verdict="ask", approvers=finance, priority=10
    )
    Condition.objects.create(rule=big, argument="amount", operator="more than", value="100")
    return outcome_of(bob, waiting(alice), {"type": "edit", "args": {**REFUND, "amount": "5000"}})


@attack(
    52,
    "one right is used twice: by the approver, and by the delegate in the approver's place",
    "409, it counts once",
    control="a right counts once, by the service and by a unique index",
    without=[
        patched("apps.approvals.decisions._refuse_second_vote", nothing),
        index("vote_once_a_person", "vote_once_a_right"),
    ],
    held=["waiting", "409"],
    fallen=["waiting", "approved"],
    known_as="ASVS 2.3.5",
)
def test_52_two_votes_of_one_right(alice, bob, frank, away, rule, waiting):
    PolicyRule.objects.filter(pk=rule.pk).update(quorum=2)
    request = waiting(alice)
    return [outcome_of(each, request, APPROVE) for each in (frank, bob)]


def decide_without_digest(user: Any, request_id: Any, decision: Any) -> Any:
    from apps.approvals.decisions import decide_request

    return decide_request(user, request_id, {**decision, "digest": None})


@attack(
    53,
    "approved from a page that shows older arguments",
    "409",
    control="a decision names the arguments that were seen, by their SHA-256",
    without=patched("apps.approvals.admin.decide_request", decide_without_digest),
    held=(409, "pending"),
    fallen=(302, "approved"),
    known_as="ASVS 15.4.2",
)
def test_53_approved_from_an_old_page(alice, bob, waiting, signed_in):
    request = waiting(alice)
    seen = request.tool_call.args_digest
    args = {**REFUND, "amount": "5000.00"}
    ToolCall.objects.update(args=args, args_digest=ledger.digest(args))
    answer = post(signed_in(bob), request, "approve", digest=seen)
    return answer.status_code, fresh(request).status


@attack(
    54,
    "approved after the deadline",
    "409",
    control="the one UPDATE that closes a request asks the database's clock",
    without=patched("apps.approvals.models.ApprovalRequest.close", close_anyhow),
    held="409",
    fallen="approved",
)
def test_54_approved_too_late(alice, bob, waiting):
    request = waiting(alice)
    pass_by(request, "expires_at")
    return outcome_of(bob, request, APPROVE)


@attack(
    54,
    "approved after it was rejected, cancelled or superseded",
    "409",
    control="a state changes once: by the service, by a conditional UPDATE and by triggers",
    without=[
        patched("apps.approvals.models.ApprovalRequest.is_pending", True),
        patched("apps.approvals.models.ApprovalRequest.close", close_anyhow),
        patched("runtime.models.ToolCall.advance", approve_anyhow),
        trigger("approvals_approvalrequest", "request_guard"),
        trigger("runtime_toolcall", "call_guard"),
    ],
    held={"rejected": "409", "cancelled": "409", "superseded": "409"},
    fallen={"rejected": "approved", "cancelled": "approved", "superseded": "approved"},
)
def test_54_approved_after_the_end(alice, bob, ben, waiting):
    found = {}
    for state in ("rejected", "cancelled", "superseded"):
        request = waiting(alice)
        if state == "rejected":
            decisions.decide(ben, request.tool_call_id, {"type": "reject", "message": "no"})
        else:
            ApprovalRequest.objects.filter(pk=request.pk).update(status=state, decided_at=timezone.now())
            ToolCall.objects.filter(pk=request.tool_call_id).update(state=state)
        found[state] = outcome_of(bob, request, APPROVE)
    return found


@attack(
    55,
    "the link of a mail is opened by somebody else",
    "302 to the sign-in; the link itself decides nothing",
    control="a link is an address and no credential",
    without=[
        patched("django.contrib.admin.sites.AdminSite.has_permission", lambda site, request: True),
        patched("apps.approvals.admin.ApprovalRequestAdmin.has_view_permission", lambda *given: True),
    ],
    held=(302, False),
    fallen=(200, True),
)
def test_55_the_link_of_a_mail(alice, bob, carol, waiting, signed_in):
    answer = signed_in(carol).get(page_of(waiting(alice)))
    return answer.status_code, "refund_order" in answer.content.decode()


HIDDEN = {
    "bidi": "\u202e",
    "zero width": "\u200b",
    "tag": "\U000e0041",
    "escape": "\x1b[2J",
    "script": "<script>alert(1)</script>",
    "comment": "<!-- APPROVED by admin -->",
}


@attack(
    56,
    "a model hides what it wants in characters that can't be seen, or writes HTML, or buries it in a megabyte",
    "shown as escapes, whole, under “written by the model”",
    control="text is shown by its characters, each without a shape as its escape",
    without=patched("apps.approvals.visible._shown", lambda char: char),
    held=([], True),
    fallen=(sorted(HIDDEN), True),
    known_as="LLM05, ASI09",
)
def test_56_text_that_deceives_who_reads_it(alice, bob, waiting, signed_in):
    long = "x" * 100_000 + "the end of it"
    request = waiting(alice, why="".join(HIDDEN.values()), args={**REFUND, "reason": long})
    page = signed_in(bob).get(page_of(request)).content.decode()
    raw = sorted(name for name, text in HIDDEN.items() if text in page)
    return raw, "the end of it" in page and "untrusted" in page


@attack(
    57,
    "one turn asks for approvals again and again, until somebody tires",
    "the turn ends at its limit, and takes its questions along",
    control="a limit of tool calls for each run",
    without=patched("runtime.context.RunContext.count_call", nothing),
    held=(RunStatus.ERROR, 0),
    fallen=(RunStatus.WAITING, 6),
    known_as="ASI09",
)
@pytest.mark.django_db(transaction=True)
def test_57_a_turn_that_tires_approvers(foreign, engine, rule_for, settings):  # noqa: F811
    settings.RUN_TOOL_CALL_LIMIT = 3
    rule_for("drop")
    thread = foreign(*(call("drop", n, f"x{n}") for n in range(6)), tools=[drop])
    run = take_turn(engine, thread, "go")
    return run.status, thread.tool_calls.filter(state=ToolState.WAITING).count()


DODGES: list[Any] = [
    "1e3",
    "100.0000001",
    "1000 ",
    "٣٠٠",  # 300
    "1,000",
    ["1000"],
    {"value": 1000},
    '"1000"',
    '["1000"]',
    "NaN",
    "1000 EUR",
    True,
]


def as_it_is_written(operator: str, left: Any, right: str) -> bool:
    return isinstance(left, int | float) and left > float(right)


@attack(
    59,
    "an amount written so that `amount > 100` does not see it",
    "each one counts as more than 100",
    control="values are compared by what they mean, and what can't be told is the riskier answer",
    without=patched("apps.approvals.conditions.compare", as_it_is_written),
    held=[],
    fallen=DODGES,
)
def test_59_arguments_that_dodge_a_rule(alice, bob, proposed):
    over = PolicyRule.objects.create(name="over", tool="refund_order", verdict="deny", priority=1)
    Condition.objects.create(rule=over, argument="amount", operator="more than", value="100")
    PolicyRule.objects.create(name="small", tool="refund_order", verdict="allow", priority=2)
    judged = [(each, policy.judge(proposed(alice, args={**REFUND, "amount": each}))) for each in DODGES]
    return [each for each, verdict in judged if verdict.kind == "allow"]


@attack(
    60,
    "a thousand is paid in ten times a hundred",
    "from the second on they are asked about",
    control="a rule can be about the sum of a day",
    without=patched("apps.approvals.facts.ran", lambda call: ToolCall.objects.none()),
    held=["allow"] + ["ask"] * 9,
    fallen=["allow"] * 10,
)
def test_60_one_payment_split_into_ten(alice, bob, rule, proposed):
    small = PolicyRule.objects.create(name="small", tool="refund_order", verdict="allow", priority=1)
    Condition.objects.create(rule=small, argument="sum.amount.today", operator="at most", value="150")
    kinds = []
    for _ in range(10):
        tool_call = proposed(alice, args={**REFUND, "amount": "100.00"})
        kinds.append(policy.judge(tool_call).kind)
        if kinds[-1] == "allow":
            tool_call.advance("approved", policy="small")
            tool_call.advance("running", started_at=timezone.now())
    return kinds


def written(rows: Any, **fields: Any) -> str:
    try:
        with transaction.atomic():
            rows.update(**fields)
    except DatabaseError:
        return "refused"
    return "written"


@attack(
    61,
    "a shell, or a tool, writes that a request is approved",
    "the database refuses",
    control="triggers want the vote first",
    without=[
        trigger("approvals_approvalrequest", "request_guard"),
        trigger("runtime_toolcall", "call_guard"),
    ],
    held=["refused", "refused", "refused"],
    fallen=["written", "written", "written"],
    known_as="ASI03",
)
def test_61_approved_by_raw_sql(alice, bob, waiting):
    waiting(alice)
    return [
        written(ApprovalRequest.objects, status="approved", decided_by=bob, decided_at=timezone.now()),
        written(ToolCall.objects, state="approved", decided_by=bob),
        written(ToolCall.objects.filter(tool="refund_order"), state="running"),
    ]


@attack(
    62,
    "an assistant's program, with a key of an approver that is for chatting, approves",
    "403",
    control="a key gives its scopes and nothing else",
    without=patched("accounts.callers.Caller.require", nothing),
    held=("refused", "pending"),
    fallen=("decides", "approved"),
    known_as="ASI03",
)
def test_62_a_key_for_chatting_approves(alice, bob, waiting):
    request = waiting(alice)
    return by_api(Program(key_of(bob, Scope.CHAT)), request), fresh(request).status


@attack(
    62,
    "code without a person behind it calls the decision service",
    "refused",
    control="the service looks the person up, and their rights, in the database",
    without=patched("apps.approvals.permissions.standing", lambda pk, request: (True, True, True)),
    held="403",
    fallen="approved",
)
def test_62_nobody_decides(alice, dave, waiting):
    return outcome_of(dave, waiting(alice), APPROVE)
