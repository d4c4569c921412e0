"""The wire data of chat completions, as far as the demo model reads or writes them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

JSONObject: TypeAlias = dict[str, Any]
FinishReason: TypeAlias = Literal["stop", "tool_calls", "length"]


class Function(TypedDict):
    name: str
    arguments: str
    """JSON text, as the model wrote it: not always valid."""


class ToolCall(TypedDict):
    id: str
    type: Literal["function"]
    function: Function


class Message(TypedDict):
    role: str
    content: NotRequired[str | list[JSONObject] | None]
    """Text, or parts of which those of type "text" count."""
    tool_calls: NotRequired[list[ToolCall] | None]
    tool_call_id: NotRequired[str]


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
