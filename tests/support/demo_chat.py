"""Talking to the demo model: as a thread of LangChain messages, or a raw stream of the openai client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai
from embedded.demo_model import phrases
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.support.demo import DemoModel

ORDER = {
    "order_number": 1042,
    "customer": "Ada Lovelace",
    "status": "delivered",
    "total": "59.90",
    "currency": "EUR",
    "refunded": "0.00",
    "items": [{"name": "Teapot", "quantity": 1}],
}


SCHEMAS: dict[str, dict[str, str]] = {
    "look_up_order": {"order_number": "integer"},
    "refund_order": {"order_number": "integer", "amount": "string", "reason": "string"},
    "send_email": {"to": "string", "subject": "string", "body": "string"},
    "calculator": {"expression": "string"},
    "current_time": {"time_zone": "string"},
    "pay": {"amount": "integer"},
}


SIGNATURE = phrases.ENGLISH.signature


def order(number: int) -> str:
    return json.dumps({**ORDER, "order_number": number})


def receipt(number: int, amount: str) -> str:
    return json.dumps({"order_number": number, "refunded": amount, "currency": "EUR", "refund_id": "R-7"})


def schema(name: str) -> dict[str, Any]:
    properties = {field: {"type": kind} for field, kind in SCHEMAS[name].items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Any = [schema(name) for name in SCHEMAS]


@dataclass
class Chat:
    """A thread with the demo model, by way of LangChain; `say` and `give` return what it said next."""

    model: Any
    messages: list[Any]

    def say(self, text: str) -> AIMessageChunk:
        self.messages.append(HumanMessage(text))
        return self._next()

    def give(self, results: Mapping[str, str] | str) -> AIMessageChunk:
        """Answer the open tool calls: all with the same text, or each by its order number."""
        for call in self.messages[-1].tool_calls:
            text = results if isinstance(results, str) else results[str(call["args"]["order_number"])]
            self.messages.append(ToolMessage(text, tool_call_id=call["id"]))
        return self._next()

    def _next(self) -> AIMessageChunk:
        chunks = iter(self.model.stream(self.messages))
        message = next(chunks)
        for chunk in chunks:
            message += chunk
        self.messages.append(message)
        return message  # type: ignore[no-any-return]


def chat_model(demo: DemoModel, name: str = "demo-model") -> ChatOpenAI:
    return ChatOpenAI(
        model=name,
        base_url=demo.base_url,
        api_key=SecretStr("test"),
        max_retries=0,
        timeout=5,
        stream_usage=True,
    )


def calls(message: AIMessageChunk) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


async def stream(client: openai.AsyncOpenAI, text: str, model: str, **more: Any) -> list[Any]:
    messages: Any = [{"role": "user", "content": text}]
    answer: Any = await client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, stream=True, **more
    )
    return [chunk async for chunk in answer]


def text_in(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def arguments_in(chunks: list[Any]) -> str:
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    return "".join(delta.function.arguments or "" for delta in deltas)


def reasons_in(chunks: list[Any]) -> list[str]:
    return [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
