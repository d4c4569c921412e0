"""`/api/v1/approvals`: the queue and the decision page for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from accounts import roles
from accounts.models import User
from accounts.scopes import Scope
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from runtime import ledger
from runtime.models import AuditEvent, Run

from apps.approvals.models import ApprovalRequest, EditBound, PolicyRule
from tests.approvals.conftest import EMAIL, REFUND, fresh, pass_by
from tests.support.programs import Program, key_of

LIST = "/approvals"

Waiting = Callable[..., ApprovalRequest]


def of(request: ApprovalRequest, what: str = "") -> str:
    return f"{LIST}/{request.pk}{what}"


def approver(user: User) -> Program:
    return Program(key_of(user, Scope.APPROVE))


def decide(program: Program, request: ApprovalRequest, decision: str, **fields: Any) -> Any:
    """Of who has seen the arguments, unless `fields` say otherwise."""
    body = {"decision": decision, "digest": request.tool_call.args_digest, **fields}
    return program.post(of(request, "/decide"), body)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["items"]]


@pytest.fixture
def bobs(bob: User) -> Program:
    return approver(bob)


# Who gets in


@pytest.mark.parametrize("path", ["", "/{id}", "/{id}/decide", "/{id}/comments"])
@pytest.mark.parametrize(
    "who", ["nobody", "a wrong key", "a key to chat", "a chat user", "an auditor", "no staff"]
)
def test_a_stranger_stays_outside(
    waiting: Waiting, person: Callable[..., User], alice: User, bob: User, dave: User, who: str, path: str
) -> None:
    request = waiting(alice)
    if who == "no staff":
        person("eve", roles.APPROVERS)
    keys = {
        "nobody": lambda: "",
        "a wrong key": lambda: "cs_000000000000_nothing",
        "a key to chat": lambda: key_of(bob, Scope.CHAT),
        "a chat user": lambda: key_of(alice, Scope.APPROVE),
        "an auditor": lambda: key_of(dave, Scope.APPROVE),
        "no staff": lambda: key_of(User.objects.get(username="eve"), Scope.APPROVE),
    }
    program = Program(keys[who]())
    body = (
        {"decision": "approve", "digest": request.tool_call.args_digest}
        if "decide" in path
        else {"text": "x"}
    )

    url = f"{LIST}{path}".format(id=request.pk)
    answer = program.post(url, body) if path.count("/") == 2 else program.get(url)

    assert answer.status_code == (401 if who in ("nobody", "a wrong key") else 403)
    assert answer.json()["detail"]
    assert fresh(request).is_pending
    assert not request.comments.exists()


def test_a_page_decides_only_with_its_csrf_token(waiting: Waiting, alice: User, bob: User) -> None:
    request = waiting(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")
    body = json.dumps({"decision": "approve", "digest": request.tool_call.args_digest})

    answer = client.post(f"/api/v1{of(request, '/decide')}", body, content_type="application/json")

    assert answer.status_code == 403
    assert fresh(request).is_pending


# Lists


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["refund", "email"]),
        ("?mine=true", ["email"]),
        ("?tool=send_email", ["email"]),
        ("?tool=send", []),
        ("?assistant=shop", ["refund", "email"]),
        ("?assistant=other", []),
        ("?risk=high", ["refund"]),
        ("?search=ada@example", ["email"]),
        ("?search=bob", ["refund"]),
        ("?status=approved", ["done"]),
        ("?status=decided", ["done"]),
        ("?status=all", ["done", "email", "refund"]),
        ("?status=all&order=newest", ["done", "email", "refund"]),
        ("?status=all&order=oldest", ["refund", "email", "done"]),
        ("?order=expiry", ["email", "refund"]),
    ],
)
def test_it_lists_as_the_queue_does(
    waiting: Waiting, alice: User, bob: User, bobs: Program, ben: User, query: str, found: list[str]
) -> None:
    requests = {"refund": waiting(bob), "email": waiting(alice, "send_email"), "done": waiting(alice)}
    rows = ApprovalRequest.objects
    rows.filter(pk=requests["refund"].pk).update(risk=3)
    rows.filter(pk=requests["email"].pk).update(expires_at=timezone.now() + timedelta(hours=1))
    for age, request in enumerate(reversed(requests.values())):
        rows.filter(pk=request.pk).update(created_at=timezone.now() - timedelta(minutes=age))
    assert decide(approver(ben), requests["done"], "approve").status_code == 200

    names = {str(request.pk): name for name, request in requests.items()}

    assert [names[each] for each in ids(bobs.get(f"{LIST}{query}"))] == found


def test_a_list_comes_in_pages(waiting: Waiting, alice: User, bobs: Program) -> None:
    requests = [str(waiting(alice).pk) for _ in range(5)]

    first = bobs.get(f"{LIST}?order=oldest&limit=3")
    second = bobs.get(f"{LIST}?order=oldest&limit=3&offset={first.json()['next_offset']}")

    assert ids(first) + ids(second) == requests
    assert second.json()["next_offset"] is None


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "offset=-1", "offset=10001", "status=new", "risk=3", "order=pk", "mine=2"],
)
def test_a_list_has_bounds(bobs: Program, query: str) -> None:
    answer = bobs.get(f"{LIST}?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(query.partition("=")[0])


def test_a_list_holds_neither_arguments_nor_what_a_decision_has_to_bring(
    waiting: Waiting, alice: User, bobs: Program
) -> None:
    digest = waiting(alice, why="Please look").tool_call.args_digest
    text = bobs.get(LIST).content.decode()

    assert digest not in text
    assert "59.90" not in text
    assert "Please look" not in text


def test_a_list_costs_as_many_queries_whatever_its_length(
    waiting: Waiting, alice: User, bobs: Program
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert len(ids(bobs.get(f"{LIST}?mine=true"))) == ApprovalRequest.objects.count()
        return len(queries)

    waiting(alice)
    bobs.get(LIST)  # a first use is noted on the key
    one = cost()
    for _ in range(9):
        waiting(alice)

    assert cost() == one


def test_approvals_from_before_an_escalation_do_not_count(
    waiting: Waiting, rule: PolicyRule, alice: User, bobs: Program
) -> None:
    PolicyRule.objects.filter(pk=rule.pk).update(quorum=2)
    request = waiting(alice)
    assert decide(bobs, request, "approve").json()["approvals"] == 1

    ApprovalRequest.objects.filter(pk=request.pk).update(escalated_at=timezone.now() + timedelta(seconds=1))

    assert bobs.get(LIST).json()["items"][0]["approvals"] == fresh(request).approvals.count() == 0


def test_a_query_that_can_not_be_read_is_refused_as_json(bobs: Program) -> None:
    answer = bobs.get(f"{LIST}?search=%00")

    assert (answer.status_code, answer.json()) == (400, {"detail": "The query has a NUL character."})


# One request


def test_a_request_is_told_in_full(
    waiting: Waiting, rule: PolicyRule, alice: User, bob: User, bobs: Program
) -> None:
    EditBound.objects.create(rule=rule, argument="amount", operator="at most", value="59.90")
    request = waiting(alice, why="The <b>customer</b> asked.", preview="Refunds 59.90")
    call, version = request.tool_call, request.version
    assert version is not None
    bobs.post(of(request, "/comments"), {"text": "Fine by me."})

    told = bobs.get(of(request)).json()

    assert told["arguments"] == told["proposed_arguments"] == REFUND
    assert told["digest"] == ledger.digest(told["arguments"])
    assert told["arguments_schema"] == call.args_schema
    assert told["answer_schema"] is None
    assert told["editable"] == {"amount": [{"operator": "at most", "value": "59.90"}]}
    assert told["allowed_decisions"] == ["approve", "edit", "reject", "respond"]
    assert (told["requester"], told["assistant"]["graph"], told["tool"]) == ("alice", "shop", "refund_order")
    assert (told["thread_id"], told["run_id"]) == (str(call.thread_id), str(call.run_id))
    assert (told["risk"], told["quorum"], told["approvals"], told["status"]) == ("normal", 1, 0, "pending")
    assert told["policy"] == {"rule": "all wait", "version": 1, "digest": version.digest}
    assert told["asked"] == {"group": "Approvers", "people": [], "in_words": "members of Approvers"}
    assert told["you"] == {"may_decide": True, "why_not": "", "has_approved": False}
    assert (told["why"], told["preview"]) == ("The <b>customer</b> asked.", "Refunds 59.90")
    assert [(each["by"], each["text"]) for each in told["comments"]] == [("bob", "Fine by me.")]
    assert (told["votes"], told["outcome"]["state"], told["expires_at"]) == ([], "waiting", None)


def test_the_requester_reads_that_they_may_not_and_no_comments(
    waiting: Waiting, person: Callable[..., User], bobs: Program
) -> None:
    ann = person("ann", roles.APPROVERS, staff=True)
    request = waiting(ann)
    bobs.post(of(request, "/comments"), {"text": "Suspicious."})

    told = approver(ann).get(of(request)).json()

    assert told["you"]["may_decide"] is False
    assert told["you"]["why_not"] == "nobody decides on a call of their own run."
    assert told["comments"] is None
    assert approver(ann).post(of(request, "/comments"), {"text": "Please"}).status_code == 403


@pytest.mark.parametrize("what", ["", "/decide", "/comments"])
def test_what_is_not_there_is_not_found(bobs: Program, what: str) -> None:
    body = {"decision": "approve", "digest": "0" * 64} if what == "/decide" else {"text": "x"}
    path = f"{LIST}/{uuid4()}{what}"

    assert (bobs.post(path, body) if what else bobs.get(path)).status_code == 404


def test_an_id_that_is_none_is_said_to_be_none(bobs: Program) -> None:
    assert bobs.get(f"{LIST}/seven").status_code == 422


# Decisions


@pytest.mark.parametrize(
    ("question", "kind", "fields", "status", "state"),
    [
        ("waiting", "approve", {}, "approved", "approved"),
        ("waiting", "approve", {"reason": "a note"}, "approved", "approved"),
        ("waiting", "edit", {"arguments": {**REFUND, "amount": "10.00"}}, "approved", "approved"),
        ("waiting", "respond", {"message": "an answer"}, "responded", "responded"),
        ("waiting", "reject", {"reason": "a reason"}, "rejected", "rejected"),
        ("cut_off", "approve", {}, "approved", "approved"),
        ("cut_off", "respond", {"message": "It was sent."}, "responded", "responded"),
        ("cut_off", "reject", {"reason": "a reason"}, "rejected", "failed"),
    ],
)
def test_each_decision_does_what_it_says(
    request: Any,
    alice: User,
    bob: User,
    bobs: Program,
    question: str,
    kind: str,
    fields: Any,
    status: str,
    state: str,
) -> None:
    approval = request.getfixturevalue(question)(alice)

    answer = decide(bobs, approval, kind, **fields)

    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["status"], told["outcome"]["state"], told["outcome"]["decision"]) == (status, state, kind)
    assert (told["decided_by"], told["decided_via"]) == ("bob", "rule")
    assert [(vote["by"], vote["decision"]) for vote in told["votes"]] == [("bob", kind)]
    call = fresh(approval).tool_call
    assert call.reason == fields.get("reason", fields.get("message", ""))
    assert Run.objects.filter(thread=call.thread, status="pending", command__isnull=False).count() == 1


def test_numbers_stay_numbers(waiting: Waiting, alice: User, bobs: Program) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}, "share": {"type": "number"}, "on": {}},
    }
    request = waiting(alice, "weigh", {"count": 1, "share": 0.5, "on": True}, args_schema=schema)
    edited = {"count": 12345678901234567890, "share": 1.25, "on": [None, "1", 1]}

    told = decide(bobs, request, "edit", arguments=edited).json()

    assert told["arguments"] == edited
    assert told["proposed_arguments"] == {"count": 1, "share": 0.5, "on": True}
    assert fresh(request).tool_call.args == edited
    assert decide_text(waiting(alice, "weigh", {"count": 1}, args_schema=schema), bobs) == 422


def decide_text(request: ApprovalRequest, program: Program) -> int:
    return int(decide(program, request, "edit", arguments={"count": "1"}).status_code)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"decision": "reject"}, "reason"),
        ({"decision": "reject", "reason": " \n"}, "reason"),
        ({"decision": "reject", "reason": "x" * 2001}, "reason"),
        ({"decision": "respond"}, "Write the answer"),
        ({"decision": "respond", "message": " "}, "Write the answer"),
        ({"decision": "respond", "answer": "x"}, "is for a question"),
        ({"decision": "edit"}, "arguments"),
        ({"decision": "edit", "arguments": [1]}, "arguments"),
        ({"decision": "edit", "arguments": {**REFUND, "amount": "-5"}}, "amount"),
        ({"decision": "edit", "arguments": {**REFUND, "tool": "wipe"}}, "tool"),
        ({"decision": "edit", "arguments": {}}, "order_number"),
        ({"decision": "approve", "arguments": REFUND}, "arguments"),
        ({"decision": "approve", "digest": ""}, "digest"),
        ({"decision": "approve", "digest": None}, "digest"),
        ({"decision": "shred"}, "approve"),
        ({}, "decision"),
        # Nothing is set that the service does not take: no state, no person, no override.
        ({"decision": "approve", "status": "approved"}, "status"),
        ({"decision": "approve", "user": "ben"}, "user"),
        ({"decision": "approve", "override": True, "reason": "an emergency, really"}, "override"),
        ({"decision": "approve", "quorum": 1}, "quorum"),
    ],
)
def test_what_can_not_be_carried_out_is_refused(
    waiting: Waiting, alice: User, bobs: Program, fields: dict[str, Any], why: str
) -> None:
    request = waiting(alice)

    answer = bobs.post(of(request, "/decide"), {"digest": request.tool_call.args_digest, **fields})

    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert fresh(request).is_pending


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"decision": "approve", "decision": "reject"}',
        b'{"decision": "edit", "arguments": {"amount": NaN}}',
        b'{"decision": "edit", "arguments": {"amount": 1e400}}',
        b'{"decision": "reject", "reason": "a\\u0000b"}',
        b'{"decision": "reject", "reason": "\\ud800"}',
        b'{"decision": "edit", "arguments": {"a\\u0000": 1}}',
        b'{"arguments": ' + b"[" * 100_000,
        b'{"arguments": ' + b"[" * 150 + b"]" * 150 + b"}",
    ],
)
def test_a_body_that_can_not_be_read_is_refused(
    waiting: Waiting, alice: User, bobs: Program, body: bytes
) -> None:
    request = waiting(alice)

    answer = bobs.post(of(request, "/decide"), body)

    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert fresh(request).is_pending


def test_a_body_that_is_too_large_is_refused(waiting: Waiting, alice: User, bobs: Program) -> None:
    answer = decide(bobs, waiting(alice), "respond", message="x" * 2_000_000)

    assert answer.status_code == 413
    assert answer.json()["detail"] == "The body is too large."


def test_who_comes_late_is_told_who_was_faster(
    waiting: Waiting, alice: User, bobs: Program, ben: User
) -> None:
    request = waiting(alice)
    assert decide(approver(ben), request, "reject", reason="no").status_code == 200

    answer = decide(bobs, request, "approve")

    assert answer.status_code == 409
    assert "rejected by ben" in answer.json()["detail"]


def test_other_arguments_than_those_seen_are_not_approved(
    waiting: Waiting, alice: User, bobs: Program
) -> None:
    request = waiting(alice)

    answer = decide(bobs, request, "approve", digest="0" * 64)

    assert answer.status_code == 409
    assert fresh(request).is_pending


def test_what_has_expired_is_not_approved(waiting: Waiting, alice: User, bobs: Program) -> None:
    request = waiting(alice)
    pass_by(request, "expires_at")

    answer = decide(bobs, request, "approve")

    assert (answer.status_code, "expired" in answer.json()["detail"]) == (409, True)


def test_several_have_to_approve(
    waiting: Waiting, rule: PolicyRule, alice: User, bob: User, ben: User
) -> None:
    PolicyRule.objects.filter(pk=rule.pk).update(quorum=2)
    request = waiting(alice)

    first = decide(approver(bob), request, "approve", reason="fine").json()
    again = decide(approver(bob), request, "approve")

    assert (first["status"], first["approvals"], first["quorum"]) == ("pending", 1, 2)
    assert first["you"] == {"may_decide": False, "why_not": "", "has_approved": True}
    assert [(vote["by"], vote["counts"], vote["reason"]) for vote in first["votes"]] == [
        ("bob", True, "fine")
    ]
    assert again.status_code == 409
    assert approver(ben).get(f"{LIST}?mine=true").json()["items"][0]["approvals"] == 1

    assert decide(approver(ben), request, "approve").json()["status"] == "approved"


def test_a_delegate_is_told_with_whose_right_it_was(
    waiting: Waiting, alice: User, frank: User, away: object
) -> None:
    told = decide(approver(frank), waiting(alice), "approve").json()

    assert told["decided_via"] == "delegate"
    assert [(vote["by"], vote["in_place_of"]) for vote in told["votes"]] == [("frank", "bob")]


def test_nobody_breaks_the_glass_by_a_key(waiting: Waiting, alice: User, admin: User) -> None:
    request = waiting(alice)

    assert decide(approver(admin), request, "approve").status_code == 403
    assert fresh(request).is_pending


def test_why_not_is_said(waiting: Waiting, alice: User, frank: User) -> None:
    answer = decide(approver(frank), waiting(alice), "approve")

    assert answer.status_code == 403
    assert "only members of Approvers decide on this" in answer.json()["detail"]


def test_an_edit_that_another_rule_is_about_says_which_request_waits_now(
    waiting: Waiting, alice: User, bobs: Program, finance: Any, frank: User
) -> None:
    request = waiting(alice)
    large = PolicyRule.objects.create(
        name="large", tool="refund_order", verdict="ask", approvers=finance, priority=1
    )
    large.conditions.create(argument="amount", operator="more than", value="100")

    told = decide(bobs, request, "edit", arguments={**REFUND, "amount": "150.00"}).json()

    assert told["status"] == "superseded"
    anew = approver(frank).get(f"{LIST}/{UUID(told['asked_anew'])}").json()
    assert (anew["asked"]["group"], anew["arguments"]["amount"], anew["status"]) == (
        "Finance",
        "150.00",
        "pending",
    )
    assert anew["proposed_arguments"]["amount"] == "59.90"


def test_a_question_is_answered_by_a_value_that_its_schema_takes(
    waiting: Waiting, alice: User, bobs: Program
) -> None:
    request = waiting(
        alice, "interrupt", {"question": "How many?"}, kind="question", interrupt_id="i",
        takes=["respond", "reject"], args_schema={"type": "integer"},
    )  # fmt: skip
    told = bobs.get(of(request)).json()
    assert (told["kind"], told["answer_schema"], told["arguments_schema"]) == (
        "question",
        {"type": "integer"},
        None,
    )
    assert (told["allowed_decisions"], told["editable"]) == (["reject", "respond"], {})

    assert decide(bobs, request, "respond", answer="seven").status_code == 422
    assert decide(bobs, request, "respond", answer=7, message="both").status_code == 422
    assert decide(bobs, request, "respond", answer=7).json()["outcome"]["result"] == "7"


def test_a_question_without_a_schema_takes_a_text(waiting: Waiting, alice: User, bobs: Program) -> None:
    request = waiting(
        alice,
        "interrupt",
        {"question": "Which?"},
        kind="question",
        interrupt_id="i",
        takes=["respond"],
        args_schema={},
    )

    assert decide(bobs, request, "respond").status_code == 422
    assert decide(bobs, request, "respond", message="blue").json()["outcome"]["result"] == "blue"


def test_who_lost_the_permission_meanwhile_decides_no_more(
    waiting: Waiting, alice: User, bob: User, bobs: Program
) -> None:
    request = waiting(alice)
    bob.groups.clear()
    bob.user_permissions.add(Permission.objects.get(codename="decide"))
    assert decide(bobs, request, "approve").status_code == 403  # the queue is closed to them
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert decide(bobs, request, "approve").status_code == 401
    assert fresh(request).is_pending


@pytest.mark.django_db(transaction=True)
def test_the_audit_names_who_decided_from_where(waiting: Waiting, alice: User, bobs: Program) -> None:
    assert decide(bobs, waiting(alice, "send_email", EMAIL), "approve").status_code == 200

    event = AuditEvent.objects.get(action="tool_call.approved")
    assert (event.actor, event.told["address"]) == ("bob", "127.0.0.1")


# Comments


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": "  "}, {"text": "x" * 2001}, {"text": "x", "author": 1}]
)
def test_a_comment_is_a_text(waiting: Waiting, alice: User, bobs: Program, body: Any) -> None:
    request = waiting(alice)

    assert bobs.post(of(request, "/comments"), body).status_code == 422
    assert bobs.post(of(request, "/comments"), {"text": "Wait.\r\nPlease."}).status_code == 201
    assert request.comments.get().text == "Wait.\nPlease."
