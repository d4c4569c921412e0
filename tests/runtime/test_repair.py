"""Histories as they were found broken, and what makes a model take them again."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langgraph.graph.message import add_messages
from runtime.repair import mends


def asks(id: str, *calls: str) -> AIMessage:
    return AIMessage("", id=id, tool_calls=[{"name": "t", "args": {}, "id": call} for call in calls])


def answer(call: ToolCall) -> ToolMessage:
    return ToolMessage("told", tool_call_id=call["id"], id=f"answer-{call['id']}")


def result(call: str) -> ToolMessage:
    return ToolMessage("done", tool_call_id=call, id=f"result-{call}")


def mended(*messages: AnyMessage) -> list[Any]:
    """The history as the graph's reducer has it afterwards, with a new message at its end."""
    more: list[Any] = [*mends(messages, answer), HumanMessage("next", id="next")]
    whole = add_messages(list(messages), more)  # type: ignore[arg-type]
    assert isinstance(whole, list)
    return whole


def said(messages: list[Any]) -> list[Any]:
    return [
        [call["id"] for call in message.tool_calls] or "text"
        if isinstance(message, AIMessage)
        else getattr(message, "tool_call_id", message.content)
        for message in messages
    ]


def test_a_whole_history_is_left_alone() -> None:
    whole: list[AnyMessage] = [
        HumanMessage("hi", id="1"),
        asks("2", "a"),
        result("a"),
        AIMessage("ok", id="3"),
    ]
    assert mends(whole, answer) == []


def test_calls_at_the_end_are_answered() -> None:
    history = mended(HumanMessage("hi", id="1"), asks("2", "a", "b"), result("a"))
    assert said(history) == ["hi", ["a", "b"], "a", "b", "next"]


def test_an_id_that_was_used_before_counts_for_its_own_message_only() -> None:
    history = mended(asks("1", "x"), result("x"), asks("2", "x"))
    assert said(history) == [["x"], "x", ["x"], "x", "next"]


def test_a_call_deeper_in_is_taken_out_of_its_message() -> None:
    history = mended(asks("1", "a", "b"), result("a"), HumanMessage("so?", id="2"), AIMessage("well", id="3"))
    assert said(history) == [["a"], "a", "so?", "text", "next"]


def test_a_result_without_its_call_is_taken_away() -> None:
    history = mended(HumanMessage("hi", id="1"), result("a"), AIMessage("well", id="3"))
    assert said(history) == ["hi", "text", "next"]


def test_what_the_endpoint_kept_of_a_removed_call_goes_too() -> None:
    message = asks("1", "a")
    message.additional_kwargs["tool_calls"] = [{"id": "a"}]

    history = mended(message, HumanMessage("so?", id="2"))

    assert history[0].additional_kwargs == {}
