"""The demo model speaks the protocol of the clients that the platform uses, over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import httpx
import openai
import pytest

from tests.support.demo import DemoModel
from tests.support.demo_chat import (
    SIGNATURE,
    TOOLS,
    Chat,
    arguments_in,
    calls,
    chat_model,
    order,
    reasons_in,
    stream,
    text_in,
)


def open_stream(demo: DemoModel, model: str) -> socket.socket:
    """A socket that has asked for a stream and reads none of it."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
    line = socket.create_connection(("127.0.0.1", httpx.URL(demo.base_url).port or 0), timeout=10)
    line.sendall(f"{head}{body}".encode())
    return line


class TestProtocol:
    async def test_it_streams_a_token_at_a_time_and_says_stop(self, client: openai.AsyncOpenAI) -> None:
        chunks = await stream(client, "hello", "demo-model")
        assert chunks[0].choices[0].delta.role == "assistant"
        assert len(chunks) > 50
        assert reasons_in(chunks) == ["stop"]
        assert text_in(chunks).endswith(SIGNATURE)

    async def test_it_sends_usage_last_and_only_when_asked(self, client: openai.AsyncOpenAI) -> None:
        plain = await stream(client, "hello", "demo-model")
        asked = await stream(client, "hello", "demo-model", stream_options={"include_usage": True})
        assert [chunk.usage for chunk in plain if chunk.usage] == []
        assert [chunk.usage is not None for chunk in asked[-2:]] == [False, True]
        usage = asked[-1].usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert asked[-1].choices == []

    async def test_it_streams_a_tool_call_in_fragments(self, client: openai.AsyncOpenAI) -> None:
        chunks = await stream(client, "Send an e-mail to bob@example.com saying hello", "demo-model")
        deltas = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
        assert (deltas[0].index, deltas[0].function.name) == (0, "send_email")
        assert deltas[0].id.startswith("call_")
        assert len(deltas) > 4
        assert json.loads(arguments_in(chunks))["to"] == "bob@example.com"
        assert reasons_in(chunks) == ["tool_calls"]

    async def test_it_answers_whole_without_stream(self, client: openai.AsyncOpenAI) -> None:
        messages: Any = [{"role": "user", "content": [{"type": "text", "text": "where is order 1042"}]}]
        answer = await client.chat.completions.create(
            model="demo-model",
            messages=messages,
            tools=TOOLS,
        )
        call: Any = answer.choices[0].message.tool_calls[0]  # type: ignore[index]
        assert answer.choices[0].finish_reason == "tool_calls"
        assert (call.function.name, json.loads(call.function.arguments)) == (
            "look_up_order",
            {"order_number": 1042},
        )
        assert answer.usage is not None

    async def test_it_gives_every_tool_call_an_id_of_its_own(self, client: openai.AsyncOpenAI) -> None:
        answers = [await stream(client, "Refund orders 1042 and 1043", "demo-model") for _ in range(5)]
        deltas = [d for a in answers for c in a if c.choices for d in c.choices[0].delta.tool_calls or []]
        ids = [delta.id for delta in deltas if delta.id]
        assert len(ids) == len(set(ids)) == 10

    async def test_it_makes_one_call_a_message_when_parallel_calls_are_off(self, demo: DemoModel) -> None:
        model = chat_model(demo).bind_tools(TOOLS, parallel_tool_calls=False)
        chat = Chat(model, [])
        assert calls(chat.say("look up order 1042 and calculate 3*7")) == [
            ("look_up_order", {"order_number": 1042})
        ]
        assert calls(chat.give(order(1042))) == [("calculator", {"expression": "3*7"})]
        assert "21" in chat.give("21").text

    async def test_it_lists_its_model(self, client: openai.AsyncOpenAI) -> None:
        assert [model.id async for model in client.models.list()] == ["demo-model"]

    async def test_it_refuses_what_openai_refuses(self, client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await stream(client, "hello", "gpt-0")
        with pytest.raises(openai.BadRequestError, match="Unknown fault 'earthquake'"):
            await stream(client, "hello", "demo-model+earthquake")
        with pytest.raises(openai.BadRequestError, match="needs a number"):
            await stream(client, "hello", "demo-model+delay=soon")

    async def test_it_refuses_a_tool_call_without_an_answer(self, client: openai.AsyncOpenAI) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
        asked = {"role": "assistant", "tool_calls": [call]}
        wrong: list[tuple[str, Any]] = [
            ("not answered: c1", [asked, {"role": "user", "content": "hello"}]),
            ("not answered: c1", [{"role": "user", "content": "hello"}, asked]),
            ("must answer a preceding", [{"role": "tool", "tool_call_id": "c1", "content": "done"}]),
            ("wrong type", [{"role": "user", "content": [7]}]),
            ("Invalid value 'bot'", [{"role": "bot", "content": "hello"}]),
        ]
        for reason, messages in wrong:
            with pytest.raises(openai.BadRequestError, match=reason):
                await client.chat.completions.create(model="demo-model", messages=messages)

    async def test_it_wants_some_key(self, demo: DemoModel) -> None:
        async with httpx.AsyncClient() as http:
            response = await http.get(f"{demo.base_url}/models")
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"

    async def test_it_keeps_a_connection_and_survives_nonsense(self, demo: DemoModel) -> None:
        async with httpx.AsyncClient(headers={"Authorization": "Bearer k"}) as http:
            url = f"{demo.base_url}/chat/completions"
            broken = [await http.post(url, content=body) for body in (b"{", b"[]", b"{}", b'{"messages":1}')]
            assert [response.status_code for response in broken] == [400] * 4
            assert (await http.get(demo.health_url)).json() == {"status": "ok"}
            assert (await http.get(f"{demo.base_url}/nothing")).status_code == 404

    async def test_it_holds_200_streams_at_once(self, client: openai.AsyncOpenAI) -> None:
        model = "demo-model+tokens=10,delay=0.01"
        answers = await asyncio.gather(*(stream(client, "go", model) for _ in range(200)))
        assert {text_in(chunks) for chunks in answers} == {" ".join(["token"] * 10)}

    def test_it_starts_fast_and_ends_in_order(self) -> None:
        started = time.monotonic()
        with DemoModel() as model:
            assert time.monotonic() - started < 1.5
        assert model.process.returncode == 0

    def test_it_says_nothing_when_clients_go_away(self) -> None:
        with DemoModel(delay=5) as model:
            faults = ("tokens=5000", "comments", "stall", "hang") * 2
            lines = [open_stream(model, f"demo-model+{fault}") for fault in faults]
            time.sleep(0.3)  # so that something is unread
            for line in lines:
                line.close()  # with unread bytes: the server's next write finds a reset connection
            time.sleep(0.3)  # in which it would complain
        assert model.complaints == ""
