"""Histories a model would refuse, made whole: every tool call has its result, every result its call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolCall, ToolMessage

Mend = AIMessage | ToolMessage | RemoveMessage


def mends(messages: Sequence[AnyMessage], answer: Callable[[ToolCall], ToolMessage]) -> list[Mend]:
    """What to add to `messages` so that a model takes them; empty when they are whole.

    Calls at the end get their `answer`. Deeper in, where nothing can be put between two messages any more, the
    message that made the call is replaced by one without it, and a result without its call is taken away.
    """
    found: list[Mend] = []
    asking: AIMessage | None = None
    open: list[ToolCall] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            call = next((call for call in open if call["id"] == message.tool_call_id), None)
            if call is not None:
                open.remove(call)
            elif message.id:
                found.append(RemoveMessage(id=message.id))
            continue
        if asking is not None and open:
            found.append(_without(asking, open))
        asking = message if isinstance(message, AIMessage) else None
        open = list(asking.tool_calls) if asking else []
    return [*found, *(answer(call) for call in open)]


def _without(message: AIMessage, calls: list[ToolCall]) -> AIMessage:
    """The same message, by its id, as if it had not made these calls."""
    extra = {key: value for key, value in message.additional_kwargs.items() if key != "tool_calls"}
    kept = [call for call in message.tool_calls if call not in calls]
    return message.model_copy(update={"tool_calls": kept, "additional_kwargs": extra})
