"""What the requester may answer or confirm on a card of their own thread, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from django.test import Client
from runtime.models import RunStatus, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from tests.chat.conftest import Worker
from tests.chat.test_views import HTMX, SignedIn, url

PARCEL = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "weight": {"type": "integer"}},
    "required": ["city", "weight"],
}


@pytest.fixture
def question(worker: Worker) -> Callable[..., ToolCall]:
    """A question of a graph that waits for the requester."""

    def ask(schema: Any = None, words: str = "Which colour?") -> ToolCall:
        run = worker.begin()
        call = ToolCall.objects.create(
            thread=worker.thread, run=run, user=run.user, assistant=run.assistant, tool="interrupt",
            kind="question", interrupt_id="i", task_id="i", call_id="0", takes=["respond", "reject"],
            args={"question": words}, proposed_args={"question": words}, args_digest="-",
            args_schema=schema or {},
        )  # fmt: skip
        assert call.advance("waiting")
        run.finish(RunStatus.WAITING)
        return call

    return ask


def answered(call: ToolCall, **fields: str) -> dict[str, str]:
    return {"decision": "respond", "digest": call.args_digest, **fields}


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_question_is_answered_on_its_card(
    worker: Worker, alices: Client, question: Callable[..., ToolCall], headers: dict[str, str]
) -> None:
    call = question()
    html = alices.get(url("thread", worker.thread)).content.decode()
    assert "Which colour?" in html
    assert "for your answer." in html
    assert 'name="arg-answer"' in html

    response = alices.post(
        url("answer", worker.thread, call.pk), answered(call, **{"arg-answer": "blue"}), headers=headers
    )

    assert response.status_code == (200 if headers else 302)
    call.refresh_from_db()
    assert (call.state, call.result, call.decided_by) == (ToolState.RESPONDED, "blue", worker.thread.owner)
    assert worker.thread.runs.filter(command__resume__tool_call=str(call.pk)).count() == 1


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_form_asks_for_what_the_schema_wants_and_keeps_what_was_typed(
    worker: Worker, alices: Client, question: Callable[..., ToolCall], headers: dict[str, str]
) -> None:
    call = question(PARCEL)
    where = url("answer", worker.thread, call.pk)

    refused = alices.post(
        where, answered(call, **{"arg-city": "Oslo", "arg-weight": "heavy"}), headers=headers
    )
    assert refused.status_code == 422
    html = refused.content.decode()
    assert 'value="Oslo"' in html
    assert "Write a whole number." in html
    alices.post(where, answered(call, **{"arg-city": "Oslo", "arg-weight": "3"}), headers=headers)

    call.refresh_from_db()
    assert call.result == '{"city": "Oslo", "weight": 3}'


def test_an_empty_answer_is_not_sent(
    worker: Worker, alices: Client, question: Callable[..., ToolCall]
) -> None:
    call = question()

    response = alices.post(
        url("answer", worker.thread, call.pk), answered(call, **{"arg-answer": " "}), headers=HTMX
    )

    assert response.status_code == 422
    assert "Write an answer." in response.content.decode()


def test_a_question_need_not_be_answered(
    worker: Worker, alices: Client, question: Callable[..., ToolCall]
) -> None:
    call = question()

    alices.post(url("answer", worker.thread, call.pk), {**answered(call), "decision": "reject"})

    call.refresh_from_db()
    assert call.state == ToolState.REJECTED


@pytest.mark.parametrize("digest", ["", "other"])
def test_what_was_not_seen_is_not_answered(
    worker: Worker, alices: Client, question: Callable[..., ToolCall], digest: str
) -> None:
    call = question()
    data = {**answered(call, **{"arg-answer": "blue"}), "digest": digest}

    assert alices.post(url("answer", worker.thread, call.pk), data, headers=HTMX).status_code == 409
    assert ToolCall.objects.get().state == ToolState.WAITING


def test_a_stranger_can_answer_nothing(
    worker: Worker,
    question: Callable[..., ToolCall],
    carol: User,
    bob: User,
    client: Client,
    signed_in: SignedIn,
) -> None:
    call = question()
    where, data = url("answer", worker.thread, call.pk), answered(call, **{"arg-answer": "blue"})

    assert signed_in(carol).post(where, data).status_code == 404
    assert signed_in(bob).post(where, data).status_code in (403, 404)
    assert client.post(where, data).status_code == 302  # to the sign-in
    assert signed_in(worker.thread.owner).get(where).status_code == 405
    forger = Client(enforce_csrf_checks=True)
    forger.force_login(worker.thread.owner, backend="django.contrib.auth.backends.ModelBackend")
    assert forger.post(where, data).status_code == 403
    assert ToolCall.objects.get().state == ToolState.WAITING


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_who_may_confirm_alone_does_it_on_the_card(
    worker: Worker, alices: Client, bob: User, decision: str
) -> None:
    PolicyRule.objects.create(name="mine", tool="refund_order", verdict="ask", requester_confirms=True)
    call = worker.call(worker.begin())
    html = alices.get(url("thread", worker.thread)).content.decode()
    assert "for you to confirm it." in html
    assert "Withdraw" not in html

    data = {"decision": decision, "digest": call.args_digest}
    alices.post(url("answer", worker.thread, call.pk), data, headers=HTMX)

    call.refresh_from_db()
    assert (call.state, call.decided_by) == (f"{decision}ed".replace("ee", "e"), worker.thread.owner)


@pytest.mark.parametrize("decision", ["approve", "respond", "edit", "nonsense", ""])
def test_nobody_confirms_what_others_are_asked_about(
    worker: Worker, alices: Client, bob: User, decision: str
) -> None:
    group = Group.objects.get(name="Approvers")
    PolicyRule.objects.create(name="theirs", tool="refund_order", verdict="ask", approvers=group)
    call = worker.call(worker.begin())
    assert 'value="approve"' not in alices.get(url("thread", worker.thread)).content.decode()

    data = {"decision": decision, "digest": call.args_digest}
    response = alices.post(url("answer", worker.thread, call.pk), data, headers=HTMX)

    assert response.status_code == 403
    assert ToolCall.objects.get().state == ToolState.WAITING
