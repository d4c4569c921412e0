"""What programs want of a run, through the engine: the log, the state's row, short questions to a worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from langgraph.types import Interrupt
from pytest_django.fixtures import Settings
from runtime import calls, decisions, events, questions, runs, wire
from runtime.engine import Engine
from runtime.exceptions import CallRefused, NoWorker
from runtime.models import Assistant, Run, RunStatus, Thread, ThreadState, ToolState
from runtime.redis_client import redis_client
from runtime.schemas import RunFields

from apps.approvals.models import PolicyRule
from tests.support import asking_graph
from tests.support.asking_graph import answers, asking, side_by_side

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[[Thread, str], Run]


def log(thread: Thread) -> list[Any]:
    entries: Any = redis_client().xrange(events.log_key(thread.pk))
    return [events.parse(id.decode(), fields[b"e"].decode()) for id, fields in entries]


def wired(thread: Thread) -> list[Any]:
    return [event["data"] for event in log(thread) if event["event"] == "wire"]


def begin(thread: Thread, text: str = "hello", **fields: Any) -> Run:
    wanted: RunFields = {"options": {"stream_mode": ["values"]}, **fields}  # type: ignore[typeddict-item]
    message = {"role": "user", "content": text, "id": f"m-{thread.runs.count()}"}
    return runs.create_run(thread, user=thread.owner, input={"messages": [message]}, fields=wanted)


def perform(engine: Engine, run: Run) -> Run:
    engine.perform(str(run.pk))
    run.refresh_from_db()
    return run


def test_a_run_of_a_page_streams_nothing_more_and_writes_no_state(thread: Thread, turn: Turn) -> None:
    assert turn(thread, "hello").status == RunStatus.SUCCESS

    assert wired(thread) == []
    assert not ThreadState.objects.exists()


def test_what_was_asked_for_is_in_the_log_before_the_end(thread: Thread, engine: Engine) -> None:
    modes = ["values", "updates", "messages-tuple"]

    run = perform(engine, begin(thread, options={"stream_mode": modes}))

    assert run.status == RunStatus.SUCCESS, run.error
    assert {data["mode"] for data in wired(thread)} == set(modes)
    names = [event["event"] for event in log(thread)]
    end = max(at for at, event in enumerate(log(thread)) if event["event"] == "run")
    assert max(at for at, name in enumerate(names) if name == "wire") < end
    state = ThreadState.objects.get()
    assert state.run == run
    assert state.values == [data["data"] for data in wired(thread) if data["mode"] == "values"][-1]


def test_what_is_too_large_leaves_a_gap(
    thread: Thread, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ENTRY_LIMIT", 300)

    run = perform(engine, begin(thread))

    assert run.status == RunStatus.SUCCESS, run.error
    assert {"mode": "values", "gap": True} in wired(thread)
    assert all(len(json.dumps(data)) < 1000 for data in wired(thread))
    assert len(ThreadState.objects.get().values["messages"]) == 2


def test_a_run_that_resumes_inherits_what_was_asked_for(
    thread: Thread, engine: Engine, order: Any, rules: None, bob: User
) -> None:
    run = perform(engine, begin(thread, "Refund order 1042", metadata={"from": "test"}))
    assert run.status == RunStatus.WAITING, run.error
    call = thread.tool_calls.get(state=ToolState.WAITING)
    (shown,) = ThreadState.objects.get().interrupts
    assert shown["calls"] == [str(call.pk)]
    assert shown["digest"] == call.args_digest
    assert shown["value"]["action_requests"][0]["args"] == call.args
    assert wired(thread)[-1]["data"]["__interrupt__"][0].keys() == {"id", "value"}

    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    resumed = perform(engine, run.resumed_by.get())

    assert (resumed.status, resumed.metadata, resumed.options) == ("success", run.metadata, run.options)
    state = ThreadState.objects.get()
    assert (state.run, state.interrupts) == (resumed, [])


def test_a_configuration_says_nothing_about_where_and_how_far(
    thread: Thread, engine: Engine, settings: Settings
) -> None:
    settings.RUN_STEP_LIMIT = 2
    config = {"recursion_limit": 500, "configurable": {"thread_id": "another"}}

    run = perform(engine, begin(thread, config=config))

    assert run.status == RunStatus.SUCCESS, run.error
    assert ThreadState.objects.get().checkpoint["thread_id"] == str(thread.pk)
    again = perform(engine, begin(thread, "look up order 1042", config=config))
    assert again.status == RunStatus.ERROR


def test_a_thread_that_was_made_for_a_run_goes_with_its_end(thread: Thread, engine: Engine) -> None:
    perform(engine, begin(thread, options={"on_completion": "delete"}))

    thread.refresh_from_db()
    assert thread.deleted_at is not None


def test_a_worker_answers_short_questions(thread: Thread, engine: Engine, turn: Turn) -> None:
    turn(thread, "hello")

    state = calls.ask("state", thread_id=str(thread.pk))
    history = calls.ask("history", thread_id=str(thread.pk), limit=2)

    assert [message["type"] for message in state["values"]["messages"]] == ["human", "ai"]
    assert history[0]["checkpoint"] == state["checkpoint"]
    assert len(history) == 2
    assert ThreadState.objects.get().values == state["values"]
    told = calls.ask("describe", assistant_id=str(thread.assistant_id))
    assert Assistant.objects.get(pk=thread.assistant_id).description_of_graph == told
    with pytest.raises(CallRefused, match="no such checkpoint"):
        calls.ask("state", thread_id=str(thread.pk), checkpoint_id="none")
    with pytest.raises(CallRefused):
        calls.ask("wipe", thread_id=str(thread.pk))  # type: ignore[arg-type]


def test_a_state_is_not_updated_while_something_is_under_way(
    thread: Thread, engine: Engine, order: Any, rules: None, turn: Turn
) -> None:
    update = {"thread_id": str(thread.pk), "as_node": None, "user_id": thread.owner_id}
    values = {"messages": [{"role": "user", "content": "by hand", "id": "h"}]}
    turn(thread, "hello")
    assert calls.ask("update_state", values=values, **update)["checkpoint"]["thread_id"] == str(thread.pk)
    assert ThreadState.objects.get().values["messages"][-1]["content"] == "by hand"
    turn(thread, "Refund order 1042")

    with pytest.raises(CallRefused, match="waits for a decision"):
        calls.ask("update_state", values=values, **update)
    with pytest.raises(CallRefused) as unknown:
        calls.ask("update_state", values=values, **{**update, "as_node": "nowhere"})
    assert unknown.value.status in (409, 422)


def test_what_no_worker_takes_is_taken_back(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoWorker, match="Nothing was changed"):
        calls.ask("state", thread_id=str(thread.pk))
    assert redis_client().llen(calls.CALLS) == 0

    monkeypatch.setattr(calls, "LIMIT", 1)
    with redis_client().pubsub() as pubsub:  # somebody who hears of it and does nothing
        pubsub.subscribe(calls.NEWS)
        assert pubsub.get_message(timeout=5)
        with pytest.raises(NoWorker, match="Nothing was changed"):
            calls.ask("state", thread_id=str(thread.pk))
        assert redis_client().llen(calls.CALLS) == 0

        def take() -> None:
            while not redis_client().lpop(calls.CALLS):
                pass

        taker = threading.Thread(target=take)
        taker.start()
        with pytest.raises(NoWorker, match="Look before"):
            calls.ask("state", thread_id=str(thread.pk))
        taker.join(5)


OLD = {
    "action_request": {"action": "wipe", "args": {}},
    "config": {"allow_accept": True, "allow_edit": False, "allow_ignore": True, "allow_respond": True},
}


@pytest.mark.parametrize("value", [OLD, [OLD]])
def test_the_older_form_of_a_question_takes_the_older_form_of_an_answer(value: Any) -> None:
    (proposal,) = questions.proposals(Interrupt(value=value, id="1"))

    assert proposal.args_schema == questions.HUMAN_RESPONSES
    assert questions.is_usable(questions.HUMAN_RESPONSES)


def test_the_graph_hears_the_older_answer_as_it_was_given(
    alice: User, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.clear()
    monkeypatch.setattr(asking_graph, "graph", side_by_side(ask=asking("ask", [OLD])), raising=False)
    settings.COUNTERSIGN_GRAPHS = {"asking": "tests.support.asking_graph:graph"}
    assistant = Assistant.objects.create(graph_id="asking", name="Asking")
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    PolicyRule.objects.create(name="Ask", tool="interrupt", verdict="ask", requester_confirms=True)
    assert perform(engine, begin(thread)).status == RunStatus.WAITING
    given = [{"type": "accept", "args": None}]

    decisions.decide(alice, thread.tool_calls.get().pk, {"type": "respond", "answer": given})
    resumed = perform(engine, thread.runs.get(command__isnull=False))

    assert resumed.status == RunStatus.SUCCESS, resumed.error
    assert answers == [("ask", given)]
