"""Runs that begin from an older checkpoint: what they remember, and that they never pass the gate."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.db import OperationalError, connections, transaction
from runtime import decisions
from runtime.engine import Engine
from runtime.models import Run, RunStatus, Thread, ToolCall, ToolState

from apps.chat.langgraph import starting
from tests.chat.langgraph.conftest import Program
from tests.support.asking import perform

pytestmark = pytest.mark.django_db(transaction=True)

Json = dict[str, Any]


def body(text: str | None, **more: Any) -> Json:
    input = {"messages": [{"role": "user", "content": text}]} if text else None
    return {"assistant_id": "shop", "input": input, **more}


@pytest.fixture
def say(thread: Thread, engine: Engine, alices_program: Program) -> Callable[..., Run]:
    """Has alice's program begin a run, and performs it."""

    def make(text: str | None, **more: Any) -> Run:
        answer = alices_program.post(f"/threads/{thread.pk}/runs", body(text, **more))
        assert answer.status_code == 200, answer.content
        return perform(engine, thread)

    return make


def states(program: Program, thread: Thread) -> list[Json]:
    """Newest first."""
    answer = program.post(f"/threads/{thread.pk}/history", {"limit": 100})
    assert answer.status_code == 200, answer.content
    found: list[Json] = answer.json()
    return found


def texts(state: Json) -> list[str]:
    return [each["content"] for each in state["values"].get("messages", []) if each["type"] == "human"]


def at(state: Json) -> str:
    return str(state["checkpoint"]["checkpoint_id"])


def test_a_run_forgets_what_came_after_its_checkpoint(
    thread: Thread, alices_program: Program, say: Callable[..., Run]
) -> None:
    say("hello")
    then = states(alices_program, thread)[0]
    say("what is 1+1")

    for name in ("checkpoint_id", "checkpoint", "config"):
        where: Json = {
            "checkpoint_id": {"checkpoint_id": at(then)},
            "checkpoint": {"checkpoint": then["checkpoint"]},
            "config": {"config": {"configurable": {"checkpoint_id": at(then)}}},
        }[name]
        assert say(f"instead, by {name}", **where).status == RunStatus.SUCCESS
        newest, *earlier = states(alices_program, thread)
        assert texts(newest) == ["hello", f"instead, by {name}"]
        assert any(texts(each)[-1:] == ["what is 1+1"] for each in earlier), "the history is kept"


@pytest.mark.parametrize("name", ["is_newest", "check_fork"])
def test_the_thread_is_not_locked_while_a_worker_is_asked(
    alices_program: Program, thread: Thread, say: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A worker may take ten seconds to say."""
    say("hello")
    say("again")
    where = at(states(alices_program, thread)[-2])
    asked = getattr(starting.states, name)

    def look(*args: Any, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(is_free, thread).result(10)
        return asked(*args, **options)

    monkeypatch.setattr(starting.states, name, look)

    answer = alices_program.post(f"/threads/{thread.pk}/runs", body("hello", checkpoint_id=where))

    assert answer.status_code == 200, answer.content


def is_free(thread: Thread) -> bool:
    try:
        with transaction.atomic():
            return Thread.objects.select_for_update(nowait=True).filter(pk=thread.pk).exists()
    except OperationalError:
        return False
    finally:
        connections.close_all()


def test_the_newest_checkpoint_is_no_fork(
    thread: Thread, alices_program: Program, say: Callable[..., Run]
) -> None:
    say("hello")
    newest = states(alices_program, thread)[0]

    run = say("what is 1+1", checkpoint=newest["checkpoint"])

    assert "checkpoint_id" not in (run.options or {})
    assert texts(states(alices_program, thread)[0]) == ["hello", "what is 1+1"]


def test_an_answer_is_made_again_without_input(
    thread: Thread, alices_program: Program, say: Callable[..., Run]
) -> None:
    say("hello")
    asked = next(state for state in states(alices_program, thread) if state["next"] == ["model"])

    run = say(None, checkpoint_id=at(asked))

    newest = states(alices_program, thread)[0]
    assert (run.status, run.input) == (RunStatus.SUCCESS, None)
    assert [each["type"] for each in newest["values"]["messages"]] == ["human", "ai"]
    assert ToolCall.objects.count() == 0


def test_every_sensitive_call_asks_again(
    thread: Thread, alices_program: Program, say: Callable[..., Run], engine: Engine, bob: User, order: Order,
    rules: None,
) -> None:  # fmt: skip
    say("hello")
    before = at(states(alices_program, thread)[0])
    assert say("Refund order 1042").status == RunStatus.WAITING
    call = ToolCall.objects.get(state=ToolState.WAITING)
    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    perform(engine, thread)
    assert Refund.objects.all().delete()[0] == 1  # else the model would see that nothing is left to refund
    Order.objects.update(refunded=0)

    assert say("Refund order 1042", checkpoint_id=before).status == RunStatus.WAITING

    second = ToolCall.objects.get(state=ToolState.WAITING)
    assert second.pk != call.pk
    assert Refund.objects.count() == 0


def test_a_finished_call_is_told_and_not_repeated_at_its_own_checkpoint(
    thread: Thread, alices_program: Program, say: Callable[..., Run], engine: Engine, bob: User, order: Order,
    rules: None,
) -> None:  # fmt: skip
    say("Refund order 1042")
    call = ToolCall.objects.get(state=ToolState.WAITING)
    gate = states(alices_program, thread)[0]
    assert gate["next"] == ["tools"]
    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    perform(engine, thread)
    path = f"/threads/{thread.pk}/runs"

    refused = alices_program.post(path, body(None, checkpoint_id=at(gate)))
    assert refused.status_code == 409, refused.content
    assert say("thank you", checkpoint_id=at(gate)).status == RunStatus.SUCCESS

    newest = states(alices_program, thread)[0]["values"]["messages"]
    (told,) = [
        each["content"] for each in newest if each["type"] == "tool" and each["name"] == "refund_order"
    ]
    assert told == ToolCall.objects.get(tool="refund_order").result
    assert Refund.objects.count() == 1


def test_while_a_call_waits_nothing_begins_elsewhere(
    thread: Thread, alices_program: Program, say: Callable[..., Run], order: Order, rules: None, settings: Any
) -> None:
    settings.WHEN_WAITING = "withdraw"
    say("hello")
    before = at(states(alices_program, thread)[0])
    say("Refund order 1042")
    gate = next(state for state in states(alices_program, thread) if state["next"] == ["model"])

    for where in (before, at(gate)):
        for text in ("instead", None):
            answer = alices_program.post(f"/threads/{thread.pk}/runs", body(text, checkpoint_id=where))
            assert answer.status_code == 409, answer.content
    assert ToolCall.objects.get(tool="refund_order").state == ToolState.WAITING
    assert thread.runs.count() == 2


def test_a_checkpoint_that_is_not_this_threads_is_not_there(
    thread: Thread, alices_program: Program, say: Callable[..., Run], carol: User,
    program: Callable[..., Program],
) -> None:  # fmt: skip
    assert alices_program.post("/runs", body("hello", checkpoint_id="x")).status_code == 404
    say("hello")
    where = at(states(alices_program, thread)[-1])
    others = Thread.objects.create(owner=thread.owner, assistant=thread.assistant)
    stranger = program(carol)
    runs = thread.runs.count()

    for text in ("instead", None):
        asked = body(text, checkpoint_id=where)
        assert alices_program.post(f"/threads/{others.pk}/runs", asked).status_code == 404
        assert stranger.post(f"/threads/{thread.pk}/runs", asked).status_code == 404
        asked = body(text, checkpoint_id=str(uuid4()))
        assert alices_program.post(f"/threads/{thread.pk}/runs", asked).status_code == 404
    inner = {"checkpoint_ns": "inner:1", "checkpoint_id": where}
    assert alices_program.post(f"/threads/{thread.pk}/runs", body("x", checkpoint=inner)).status_code == 422
    assert thread.runs.count() == runs


def test_at_the_end_of_a_turn_there_is_nothing_to_do_again(
    thread: Thread, alices_program: Program, say: Callable[..., Run]
) -> None:
    say("hello")
    end = at(states(alices_program, thread)[0])
    say("what is 1+1")

    answer = alices_program.post(f"/threads/{thread.pk}/runs", body(None, checkpoint_id=end))

    assert answer.status_code == 409, answer.content
    assert thread.runs.count() == 2
