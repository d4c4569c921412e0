"""Graphs that ask by themselves, past the gateway, as other people write them."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool as plain_tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from pydantic import BaseModel
from runtime.llm import chat_model
from runtime.tools import tool

effects: Counter[str] = Counter()
answers: list[Any] = []
"""What `interrupt()` returned in the graphs below, with the name of who asked."""


@plain_tool
def refund_order(order_number: int, amount: str, reason: str) -> str:
    """Refund an order."""
    effects[f"{order_number}: {amount}"] += 1
    return f"Refunded {amount}."


@tool(sensitive=True, effect="once")
def drop(n: int) -> str:
    """Drop something."""
    effects[f"drop {n}"] += 1
    return "dropped"


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    said: Annotated[list[Any], operator.add]


class Parcel(BaseModel):
    """Where it goes."""

    city: str
    weight: int
    is_urgent: bool = False


def reviewed(mode: Any = "batched", takes: Any = True) -> Any:
    """LangChain's agent with its human-in-the-loop middleware."""

    def build() -> Any:
        review = HumanInTheLoopMiddleware(interrupt_on={"refund_order": takes}, interrupt_mode=mode)
        return create_agent(chat_model(), [refund_order], middleware=[review])

    return build


def asking(name: str, value: Any, **options: Any) -> Any:
    def node(state: State) -> dict[str, Any]:
        answer = interrupt(value, **options)
        answers.append((name, answer))
        return {"said": [str(answer)]}

    return node


def side_by_side(**nodes: Any) -> Any:
    """A graph of these nodes, all at once."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
    return graph.compile()


def nested(depth: int, node: Any) -> Any:
    """The node inside a graph inside a graph."""
    inner = node
    for _ in range(depth):
        inner = side_by_side(inner=inner)
    return inner


def dropping() -> Any:
    """A node that calls a tool behind the gateway."""
    graph = StateGraph(State)
    call = {"name": "drop", "args": {"n": 1}, "id": "call-1"}
    graph.add_node("propose", lambda state: {"messages": [AIMessage("", tool_calls=[call])]})
    graph.add_node("tools", ToolNode([drop]))
    graph.add_edge(START, "propose")
    graph.add_edge("propose", "tools")
    graph.add_edge("tools", END)
    return graph.compile()


def with_breakpoint() -> Any:
    graph = StateGraph(State)
    graph.add_node("node", lambda state: {})
    graph.add_edge(START, "node")
    return graph.compile(interrupt_before=["node"])
