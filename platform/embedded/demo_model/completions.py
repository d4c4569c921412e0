"""Replies as chat completions: one JSON object, or one chunk per token."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from embedded.demo_model.reply import Call, Reply
from embedded.demo_model.schemas import JSONObject, ToolCall, Usage

ARGUMENT_PIECE = 7  # characters of a tool call's arguments in one chunk

#: A few letters with the white space before them, or one or two Chinese characters; nothing is left out.
_TOKEN = re.compile(r"\s*[\u3000-\u9fff\uff00-\uffef]{1,2}|\s*[^\s\u3000-\u9fff\uff00-\uffef]{1,8}|\s+")


def tokens(text: str) -> list[str]:
    """`text` in pieces of about a token's length; joined they are `text` again."""
    return _TOKEN.findall(text)


@dataclass(frozen=True)
class Completion:
    """A reply with its id, time and usage: what is the same in every chunk."""

    reply: Reply
    model: str
    prompt_tokens: int
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def as_json(self) -> JSONObject:
        """The whole answer in one object, for `stream: false`."""
        reply = self.reply
        message: JSONObject = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.calls:
            message["tool_calls"] = [_tool_call(call, call.arguments) for call in reply.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage()}

    def chunks(self, *, include_usage: bool) -> Iterator[JSONObject]:
        """The chunks in order: role, text, tool calls, finish reason, usage.

        A reply without a finish reason has neither of the last two.
        """
        head = self._head("chat.completion.chunk")
        if include_usage:
            head["usage"] = None
        for delta in self._deltas():
            yield {**head, "choices": [_choice(delta)]}
        if self.reply.finish_reason is None:
            return
        yield {**head, "choices": [_choice({}, self.reply.finish_reason)]}
        if include_usage:
            yield {**head, "choices": [], "usage": self.usage()}

    def usage(self) -> Usage:
        said = len(tokens(self.reply.text))
        said += sum(1 + len(_pieces(call.arguments)) for call in self.reply.calls)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }

    def _head(self, kind: str) -> JSONObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _deltas(self) -> Iterator[JSONObject]:
        yield {"role": "assistant", "content": ""}
        for token in tokens(self.reply.text):
            yield {"content": token}
        for index, call in enumerate(self.reply.calls):
            yield from _call_deltas(index, call)


def _call_deltas(index: int, call: Call) -> Iterator[JSONObject]:
    yield {"tool_calls": [{"index": index, **_tool_call(call, "")}]}
    for piece in _pieces(call.arguments):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _tool_call(call: Call, arguments: str) -> ToolCall:
    return {
        "id": f"call_{uuid4().hex}",
        "type": "function",
        "function": {"name": call.tool, "arguments": arguments},
    }


def _choice(delta: JSONObject, finish_reason: str | None = None) -> JSONObject:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _pieces(arguments: str) -> list[str]:
    return [arguments[at : at + ARGUMENT_PIECE] for at in range(0, len(arguments), ARGUMENT_PIECE)]


def count_tokens(texts: Iterable[str]) -> int:
    return sum(len(tokens(text)) for text in texts)
