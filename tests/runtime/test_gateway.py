"""The gateway inside other people's graphs, and against models that do odd things."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated, Any, TypedDict

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool as plain_tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from pytest_django.fixtures import Settings
from runtime import decisions, runs
from runtime.engine import Engine
from runtime.models import Assistant, Run, RunStatus, Thread, ToolState
from runtime.tools import gate, tool

from apps.approvals.models import PolicyRule
from tests.support.engines import take_turn
from tests.support.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

effects: Counter[str] = Counter()


@tool(sensitive=False, effect="none")
def view(n: int) -> str:
    """Look at something."""
    effects[f"view {n}"] += 1
    return "seen"


@tool(sensitive=True, effect="once")
def drop(n: int) -> str:
    """Drop something."""
    effects[f"drop {n}"] += 1
    return "dropped"


@tool(sensitive=True, effect="once")
async def slow_drop(n: int) -> str:
    """Drop something, slowly."""
    await asyncio.sleep(30)
    effects[f"drop {n}"] += 1
    return "dropped"


@plain_tool
def ungated(n: int) -> str:
    """Nobody sees this one."""
    effects[f"ungated {n}"] += 1
    return "done"


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def graph_calling(*calls: dict[str, Any], tools: list[Any]) -> Any:
    """A graph that is not ours: one message with these calls, all of them in one task of a tool node."""

    def propose(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=list(calls))]}

    graph = StateGraph(State)
    graph.add_node("propose", propose)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "propose")
    graph.add_edge("propose", "tools")
    graph.add_edge("tools", END)
    return graph.compile()


@pytest.fixture
def foreign(settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A thread on a graph made of these calls."""

    def make(*calls: dict[str, Any], tools: list[Any]) -> Thread:
        effects.clear()
        monkeypatch.setattr(
            "tests.runtime.test_gateway.graph", graph_calling(*calls, tools=tools), raising=False
        )
        settings.COUNTERSIGN_GRAPHS = {"foreign": "tests.runtime.test_gateway:graph"}
        assistant = Assistant.objects.create(graph_id="foreign", name="Foreign")
        return Thread.objects.create(owner=alice, assistant=assistant)

    return make


@pytest.fixture
def rule_for(bob: User) -> Any:
    """Makes a rule that asks the approvers about a tool."""
    approvers = Group.objects.get(name="Approvers")
    return lambda name: PolicyRule.objects.create(name=name, tool=name, verdict="ask", approvers=approvers)


def call(name: str, n: int, id: str) -> dict[str, Any]:
    return {"name": name, "args": {"n": n}, "id": id, "type": "tool_call"}


def test_a_sensitive_call_under_a_harmless_calls_id_is_its_own_call(foreign: Any, engine: Engine) -> None:
    thread = foreign(call("view", 1, "x"), call("drop", 1, "x"), tools=[view, drop])

    take_turn(engine, thread, "go")

    assert effects == {"view 1": 1}
    assert dict(thread.tool_calls.values_list("tool", "state")) == {"view": "done", "drop": "denied"}


def test_the_same_call_twice_in_one_message_runs_once(foreign: Any, engine: Engine) -> None:
    thread = foreign(call("view", 2, "x"), call("view", 2, "x"), tools=[view, drop])

    run = take_turn(engine, thread, "go")

    assert run.status == RunStatus.SUCCESS, run.error
    assert effects == {"view 2": 1}


def test_two_waiting_calls_in_one_task_each_run_once(
    foreign: Any, engine: Engine, rule_for: Any, bob: User
) -> None:
    rule_for("drop")
    thread = foreign(call("drop", 3, "a"), call("drop", 4, "b"), tools=[drop])
    run = take_turn(engine, thread, "go")
    while run.status == RunStatus.WAITING:
        waiting = thread.tool_calls.filter(state=ToolState.WAITING).order_by("created_at").first()
        assert waiting is not None
        decisions.decide(bob, waiting.pk, {"type": "approve"})
        run = Run.objects.filter(thread=thread).latest("created_at")
        engine.perform(str(run.pk))
        run.refresh_from_db()

    assert run.status == RunStatus.SUCCESS, run.error
    assert effects == {"drop 3": 1, "drop 4": 1}


def test_any_tool_can_be_put_behind_the_gateway(foreign: Any, engine: Engine) -> None:
    thread = foreign(call("ungated", 6, "x"), tools=[gate(ungated, sensitive=False, effect="none")])

    assert take_turn(engine, thread, "go").status == RunStatus.SUCCESS
    assert effects == {"ungated 6": 1}
    assert thread.tool_calls.get().state == ToolState.DONE


def test_a_tool_cut_off_by_stop_is_unknown_and_never_run_again(
    foreign: Any, engine: Engine, rule_for: Any, bob: User
) -> None:
    rule_for("slow_drop")
    thread = foreign(call("slow_drop", 7, "x"), tools=[slow_drop])
    take_turn(engine, thread, "go")
    decisions.decide(bob, thread.tool_calls.get().pk, {"type": "approve"})
    run = thread.runs.latest("created_at")
    performing = engine.start(str(run.pk))
    until(lambda: thread.tool_calls.get().state == ToolState.RUNNING)

    for _ in range(20):  # a storm of Stops counts as one
        runs.cancel_run(run)
    performing.result(10)

    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    assert thread.tool_calls.get().state == ToolState.UNKNOWN
    assert effects == {}


@tool(sensitive=False, effect="none")
async def block(n: int) -> str:
    """Keep the event loop for itself."""
    time.sleep(1.5)  # what the test is about: a coroutine that does not give the loop back
    return "done"


def test_a_tool_that_blocks_the_loop_is_named_in_the_log(
    foreign: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    thread = foreign(call("block", 1, "x"), tools=[block])

    run = take_turn(engine, thread, "go")

    (said,) = [record for record in caplog.records if getattr(record, "action", "") == "loop_stall"]
    assert said.seconds >= 1  # type: ignore[attr-defined]
    assert str(run.pk) in said.runs  # type: ignore[attr-defined]


@tool(sensitive=False, effect="once")
def post(n: int) -> str:
    """Send something; the answer gets lost on the way back."""
    effects[f"post {n}"] += 1
    raise ConnectionResetError("the line went dead")


@tool(sensitive=False, effect="idempotent")
def put(n: int) -> str:
    """Store something; the first answer gets lost on the way back."""
    effects[f"put {n}"] += 1
    if effects[f"put {n}"] == 1:
        raise ConnectionResetError("the line went dead")
    return "stored"


def test_an_answer_that_got_lost_leaves_the_outcome_unknown(foreign: Any, engine: Engine) -> None:
    thread = foreign(call("post", 8, "x"), tools=[post])

    take_turn(engine, thread, "go")

    assert effects == {"post 8": 1}
    assert thread.tool_calls.get().state == ToolState.UNKNOWN


def test_what_has_a_key_is_asked_again_under_it(foreign: Any, engine: Engine) -> None:
    thread = foreign(call("put", 9, "x"), tools=[put])

    take_turn(engine, thread, "go")

    assert effects == {"put 9": 2}
    made = thread.tool_calls.get()
    assert (made.state, made.result) == (ToolState.DONE, "stored")
