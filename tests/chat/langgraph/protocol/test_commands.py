"""Commands: what they start and decide, who may, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from accounts import roles
from accounts.models import User
from accounts.scopes import Scope
from django.contrib.auth.models import Group
from runtime.models import Assistant, CallKind, Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from apps.chat import watching
from apps.chat.langgraph.protocol import projection
from apps.chat.langgraph.protocol.envelopes import seq_of
from tests.chat.langgraph.conftest import Program
from tests.chat.langgraph.protocol.conftest import Streaming

pytestmark = pytest.mark.django_db

INPUT = {"messages": [{"role": "user", "content": "hello"}]}
START = {"assistant_id": "shop", "input": INPUT}
INTERRUPT = "a" * 32


def sent(program: Program, thread_id: Any, method: str, params: Any, **fields: Any) -> Any:
    answer = program.post(
        f"/threads/{thread_id}/commands", {"id": 7, "method": method, "params": params, **fields}
    )
    assert answer.status_code == 200, answer.content
    assert answer.json()["id"] == 7
    return answer.json()


@pytest.fixture
def asked(streaming: Streaming, bob: User, request: pytest.FixtureRequest) -> ToolCall:
    """A call that waits, on a thread whose run rests with it: for alice's own yes, or for the `others` of its rule."""
    group = Group.objects.get(name=roles.APPROVERS)
    how: Any = (
        {"approvers": group} if getattr(request, "param", "") == "others" else {"requester_confirms": True}
    )
    PolicyRule.objects.create(name="Ask", tool="refund_order", verdict="ask", priority=1, **how)
    return rest(streaming)


def rest(streaming: Streaming) -> ToolCall:
    run = streaming.started()
    call = streaming.call(run, "waiting")
    interrupt = {"id": INTERRUPT, "value": {}, "task_id": "t", "calls": [str(call.pk)]}
    streaming.ends(run, RunStatus.WAITING, interrupts=[interrupt])
    return call


def test_a_run_is_started_as_the_protocol_wants_it(thread: Thread, alices_program: Program) -> None:
    params = {**START, "config": {"tags": ["a"]}, "metadata": {"room": "1"}, "multitaskStrategy": "interrupt"}

    said = sent(alices_program, thread.pk, "run.start", params)

    run = Run.objects.get()
    assert said == {"type": "success", "id": 7, "result": {"run_id": str(run.pk)}}
    assert run.options["stream_mode"] == projection.MODES
    assert run.options["stream_subgraphs"] is True
    assert run.options["multitask_strategy"] == "interrupt"
    assert (run.config["tags"], run.metadata) == (["a"], {"room": "1"})


def test_a_start_makes_the_thread_it_names(assistant: Assistant, alices_program: Program) -> None:
    thread_id = uuid4()

    sent(alices_program, thread_id, "run.start", START)

    assert Thread.objects.get().pk == thread_id


@pytest.mark.django_db(transaction=True)
def test_what_was_told_before_is_said_with_the_answer(
    thread: Thread, streaming: Streaming, alices_program: Program
) -> None:
    streaming.ends(streaming.started())

    through = sent(alices_program, thread.pk, "run.start", START)["meta"]["applied_through_seq"]

    run = Run.objects.get(status=RunStatus.PENDING)
    places = {entry["run_id"]: seq_of(entry["id"], 0) for entry in streaming.log()}
    assert places[str(run.pk)] > through
    assert max(place for id, place in places.items() if id != str(run.pk)) <= through


def test_the_same_request_starts_one_run(thread: Thread, alices_program: Program) -> None:
    body = {"id": 1, "method": "run.start", "params": START}
    path = f"/threads/{thread.pk}/commands"

    first, again = (alices_program.post(path, body, **{"Idempotency-Key": "k"}).json() for _ in range(2))

    assert first["result"] == again["result"]
    assert Run.objects.count() == 1


@pytest.mark.parametrize("several", [False, True])
def test_an_answer_is_a_decision(
    thread: Thread, asked: ToolCall, alices_program: Program, several: bool
) -> None:
    one = {"interrupt_id": INTERRUPT, "namespace": [], "response": {"decisions": [{"type": "approve"}]}}

    said = sent(alices_program, thread.pk, "input.respond", {"responses": [one]} if several else one)

    asked.refresh_from_db()
    assert said["result"] == {}
    assert (asked.state, asked.decided_by) == (ToolState.APPROVED, thread.owner)
    resumed = Run.objects.get(resumes__isnull=False)
    assert resumed.options["stream_mode"] == projection.MODES


def test_input_for_a_thread_that_waits_is_an_answer(
    thread: Thread, asked: ToolCall, alices_program: Program
) -> None:
    params = {"assistant_id": "shop", "input": {"decisions": [{"type": "reject", "message": "No"}]}}

    said = sent(alices_program, thread.pk, "run.start", params)

    asked.refresh_from_db()
    assert asked.state == ToolState.REJECTED
    assert said["result"]["run_id"] == str(Run.objects.get(resumes__isnull=False).pk)


def test_a_message_for_a_thread_that_waits_is_refused(
    thread: Thread, asked: ToolCall, alices_program: Program
) -> None:
    said = sent(alices_program, thread.pk, "run.start", START)

    asked.refresh_from_db()
    assert (said["type"], said["error"], asked.state) == ("error", "unknown_error", ToolState.WAITING)


@pytest.mark.parametrize("asked", ["others"], indirect=True)
def test_who_may_not_decide_does_not(thread: Thread, asked: ToolCall, alices_program: Program) -> None:
    answer = {"interrupt_id": INTERRUPT, "response": {"decisions": [{"type": "approve"}]}}

    said = sent(alices_program, thread.pk, "input.respond", answer)

    asked.refresh_from_db()
    assert (said["error"], asked.state) == ("permission_denied", ToolState.WAITING)
    assert Run.objects.count() == 1


def test_a_key_that_may_only_chat_does_not_decide(
    thread: Thread, asked: ToolCall, program: Callable[..., Program]
) -> None:
    answer = {"interrupt_id": INTERRUPT, "response": {"decisions": [{"type": "approve"}]}}

    for method, params in (
        ("input.respond", answer),
        ("run.start", {"assistant_id": "shop", "input": answer["response"]}),
    ):
        said = sent(program(thread.owner, Scope.CHAT), thread.pk, method, params)
        assert said["error"] == "permission_denied"
    asked.refresh_from_db()
    assert (asked.state, asked.kind) == (ToolState.WAITING, CallKind.CALL)


@pytest.mark.parametrize("id", ["b" * 32, "nothing", ""])
def test_an_answer_to_what_nobody_asked_is_refused(
    thread: Thread, asked: ToolCall, alices_program: Program, id: str
) -> None:
    answer = {"interrupt_id": id, "response": {"decisions": [{"type": "approve"}]}}

    assert sent(alices_program, thread.pk, "input.respond", answer)["error"] == "no_such_interrupt"
    assert ToolCall.objects.get().state == ToolState.WAITING


def test_a_second_answer_is_refused(thread: Thread, asked: ToolCall, alices_program: Program) -> None:
    answer = {"interrupt_id": INTERRUPT, "response": {"decisions": [{"type": "approve"}]}}
    sent(alices_program, thread.pk, "input.respond", answer)

    assert sent(alices_program, thread.pk, "input.respond", answer)["error"] == "no_such_interrupt"
    assert Run.objects.filter(resumes__isnull=False).count() == 1


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("run.start", {}, "invalid_argument"),
        ("run.start", {"assistant_id": "nobody", "input": INPUT}, "invalid_argument"),
        ("run.start", {"assistant_id": "shop"}, "invalid_argument"),
        ("run.start", {**START, "multitaskStrategy": "both"}, "invalid_argument"),
        ("run.start", {**START, "config": {"recursion_limit": -1}}, "invalid_argument"),
        ("input.respond", {}, "invalid_argument"),
        ("input.respond", {"responses": []}, "invalid_argument"),
        ("input.respond", {"interrupt_id": INTERRUPT, "goto": "model"}, "not_supported"),
        ("input.respond", {"interrupt_id": INTERRUPT, "response": {"type": "maybe"}}, "invalid_argument"),
        ("subscription.subscribe", {"channels": ["values"]}, "not_supported"),
        ("agent.getTree", {}, "not_supported"),
        ("run.explode", {}, "unknown_command"),
    ],
)
def test_a_command_that_can_not_be_done_says_why(
    thread: Thread, asked: ToolCall, alices_program: Program, method: str, params: Any, code: str
) -> None:
    said = sent(alices_program, thread.pk, method, params)

    assert (said["type"], said["error"]) == ("error", code)
    assert said["message"]
    assert (Run.objects.count(), ToolCall.objects.get().state) == (1, ToolState.WAITING)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"", b'"run.start"', {}, {"method": "run.start"}, {"id": 1}, {"id": "1", "method": "run.start"},
        {"id": True, "method": "run.start"}, {"id": -1, "method": "run.start"}, {"id": 1, "method": 5},
        {"id": 1, "method": "run.start", "params": []},
    ],
)  # fmt: skip
def test_what_is_no_command_is_400(thread: Thread, alices_program: Program, body: Any) -> None:
    answer = alices_program.post(f"/threads/{thread.pk}/commands", body)

    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_strangers_are_told_of_no_thread(
    thread: Thread, asked: ToolCall, carol: User, program: Callable[..., Program]
) -> None:
    answer = {"interrupt_id": INTERRUPT, "response": {"decisions": [{"type": "approve"}]}}

    for body in (
        {"id": 1, "method": "input.respond", "params": answer},
        {"id": 1, "method": "run.start", "params": START},
        b"{",
    ):
        assert program(carol).post(f"/threads/{thread.pk}/commands", body).status_code == 404
    asked.refresh_from_db()
    assert asked.state == ToolState.WAITING


@pytest.mark.parametrize(
    "body",
    [
        {}, {"channels": []}, {"channels": ["nothing"]}, {"channels": ["custom:"]}, {"channels": "values"},
        {"channels": ["values"], "since": "x"}, {"channels": ["values"], "since": -1},
        {"channels": ["values"], "namespaces": ["a"]}, {"channels": ["values"], "depth": 1.5}, b"[", b"[]",
    ],
)  # fmt: skip
def test_what_is_no_subscription_is_400(thread: Thread, alices_program: Program, body: Any) -> None:
    assert alices_program.post(f"/threads/{thread.pk}/stream/events", body).status_code == 400


def test_one_person_has_only_so_many_streams_open(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, alices_program: Program
) -> None:
    monkeypatch.setattr(watching, "_open", {thread.owner_id: watching.STREAMS_EACH})

    answer = alices_program.post(f"/threads/{thread.pk}/stream/events", {"channels": ["values"]})

    assert answer.status_code == 429
    assert answer["Retry-After"]
