"""The text analyser: looks at the text, has the model read it in four ways at once, counts, looks up, reports.

A text that can't be analysed goes straight to the report. Every step has a time limit; a reading that the model does
not give in time, or gives in another form, is replaced by what can be seen without it, and the report says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Annotated, Any, TypedDict
from uuid import uuid4

from django.conf import settings
from django.utils import translation
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels import EphemeralValue
from langgraph.channels.delta import DeltaChannel
from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, RetryPolicy

from assistants.analyser import background, metrics, readings
from assistants.analyser.readings import READINGS
from assistants.analyser.report import report
from assistants.analyser.shapes import Analysis
from assistants.analyser.watch import Stopwatch, watched
from assistants.asking import is_passing
from assistants.words import language_of

METRIC_THREADS = 4  # for all analyses of a process
METRICS = (metrics.counts, metrics.variety, metrics.readability)
AGAIN = RetryPolicy(initial_interval=0.5, max_attempts=2, retry_on=is_passing)  # with jitter

BEGIN = "validate"  # the step after whose name everything before belongs to another text


def gathered(known: dict[str, Any] | None, news: dict[str, Any]) -> dict[str, Any]:
    """Of steps side by side each brings its own. The first of a text clears what was there of another."""
    return news if BEGIN in news else {**(known or {}), **news}


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]
    text: str
    problems: list[str]
    began: float
    topic: dict[str, Any]
    sentiment: dict[str, Any]
    entities: dict[str, Any]
    summary: dict[str, Any]
    metrics: dict[str, Any]
    background: dict[str, Any]
    fallbacks: Annotated[dict[str, str], gathered]
    steps: Annotated[dict[str, Any], gathered]
    spent: Annotated[list[AIMessage], EphemeralValue(list, guard=False)]
    """Of no use to the graph: the runner counts the tokens of every message that goes by."""
    analysis: dict[str, Any]


async def validate(state: State) -> dict[str, Any]:
    said = [message for message in state["messages"] if isinstance(message, HumanMessage)]
    text = str(said[-1].text) if said else ""
    fresh: dict[str, Any] = {name: {} for name in (*READINGS, "metrics", "background", "analysis")}
    return {
        **fresh,
        "text": text,
        "problems": metrics.problems(text),
        "began": time.time(),
        "fallbacks": {BEGIN: ""},
    }


def _ways_on(state: State) -> Sequence[str]:
    return ["finalise"] if state["problems"] else list(READINGS)


async def _read(name: str, state: State) -> dict[str, Any]:
    return await readings.read(name, state["text"])


def _stand_in(name: str) -> Callable[[State, NodeError], Command[Any]]:
    """Only for a model that is slow: what else goes wrong ends the run, and says what it was."""

    def without_model(state: State, error: NodeError) -> Command[Any]:
        if not isinstance(error.error, NodeTimeoutError):
            raise error.error
        step = {name: {"seconds": settings.ANALYSIS_STEP_LIMIT, "memory_kb": 0}}
        found = readings.without_model(name, state["text"], readings.LATE)
        return Command(update={**found, "steps": step}, goto="measure")

    return without_model


async def measure(state: State) -> dict[str, Any]:
    """In threads: a long text must not hold up the other runs of this worker."""
    if all(state["fallbacks"].get(name) == readings.LATE for name in READINGS):
        raise TimeoutError("The model gave none of its readings in time.")
    loop = asyncio.get_running_loop()
    # Those that are late go on to their end, and keep one of the pool's threads until then.
    parts: list[Any] = await asyncio.gather(
        *(loop.run_in_executor(_threads(), each, state["text"]) for each in METRICS)
    )
    return {"metrics": metrics.measured(*parts).model_dump()}


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(METRIC_THREADS, thread_name_prefix="metrics")


async def enrich(state: State) -> dict[str, Any]:
    names = [each["name"] for each in state["entities"]["entities"]]
    return {"background": (await background.look_up(names)).model_dump()}


async def finalise(state: State) -> dict[str, Any]:
    """What this step takes itself is known only when the report is written: it is in the result alone."""
    with Stopwatch() as watch:
        analysis = _analysis(state)
        with translation.override(language_of(state["text"])):
            said = AIMessage(report(analysis), id=str(uuid4()))
    steps = {**analysis.model_dump()["steps"], "finalise": watch.step}
    return {"analysis": {**analysis.model_dump(), "steps": steps}, "messages": [said]}


def _analysis(state: State) -> Analysis:
    took = {"steps": state["steps"], "seconds": round(max(0.0, time.time() - state["began"]), 3)}
    if state["problems"]:
        return Analysis.model_validate({"is_valid": False, "problems": state["problems"], **took})
    found = {
        "topic": state["topic"],
        "sentiment": state["sentiment"],
        "entities": state["entities"]["entities"],
        "summary": state["summary"]["summary"],
        "metrics": state["metrics"],
        "background": state["background"],
        "fallbacks": {name: why for name, why in state["fallbacks"].items() if name != BEGIN},
    }
    return Analysis.model_validate({"is_valid": True, **found, **took})


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    limit = settings.ANALYSIS_STEP_LIMIT
    add: Callable[..., Any] = graph.add_node
    add("validate", watched("validate", validate), timeout=limit)
    for name in READINGS:
        node = watched(name, partial(_read, name))
        add(name, node, timeout=limit, retry_policy=AGAIN, error_handler=_stand_in(name))
        graph.add_edge(name, "measure")
    # Deferred: where one of the four is late, the others have come long before what stands in for it.
    add("measure", watched("measure", measure), timeout=limit, defer=True)
    add("enrich", watched("enrich", enrich), timeout=limit)
    add("finalise", finalise, timeout=limit)
    graph.add_edge(START, "validate")
    graph.add_conditional_edges("validate", _ways_on, [*READINGS, "finalise"])
    graph.add_edge("measure", "enrich")
    graph.add_edge("enrich", "finalise")
    graph.add_edge("finalise", END)
    return graph.compile()
