"""The demo model fails as it is told to by its name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from embedded.demo_model.faults import cut_arguments

from tests.support.demo import DemoModel
from tests.support.demo_chat import (
    SIGNATURE,
    TOOLS,
    Chat,
    arguments_in,
    calls,
    chat_model,
    reasons_in,
    stream,
    text_in,
)


class TestFaults:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            ("401", openai.AuthenticationError),
            ("429", openai.RateLimitError),
            ("500", openai.InternalServerError),
            ("503", openai.InternalServerError),
        ],
    )
    async def test_it_refuses_with_a_status(
        self, client: openai.AsyncOpenAI, status: str, error: type[openai.APIStatusError]
    ) -> None:
        with pytest.raises(error) as caught:
            await stream(client, "hello", f"demo-model+{status}")
        assert caught.value.status_code == int(status)

    async def test_it_refuses_the_first_requests_of_each_key(self, client: openai.AsyncOpenAI) -> None:
        model = "demo-model+429x2,retry_after=7"
        for key in ("first", "second"):
            keyed = client.with_options(api_key=key)
            for _ in range(2):
                with pytest.raises(openai.RateLimitError) as caught:
                    await stream(keyed, "hello", model)
                assert caught.value.response.headers["retry-after"] == "7"
            assert reasons_in(await stream(keyed, "hello", model)) == ["stop"]

    async def test_it_cuts_the_stream_without_a_reason(self, client: openai.AsyncOpenAI) -> None:
        chunks = await stream(client, "hello", "demo-model+cut", stream_options={"include_usage": True})
        assert text_in(chunks)
        assert SIGNATURE not in text_in(chunks)
        assert reasons_in(chunks) == []
        assert [chunk.usage for chunk in chunks if chunk.usage] == []

    @pytest.mark.parametrize(("model", "ending"), [("demo-model", 1), ("demo-model+cut", 0)])
    async def test_it_says_done_only_at_the_end(self, demo: DemoModel, model: str, ending: int) -> None:
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        async with httpx.AsyncClient(headers={"Authorization": "Bearer k"}) as http:
            response = await http.post(f"{demo.base_url}/chat/completions", json=body)
        assert response.text.count("data: [DONE]\n\n") == ending

    @pytest.mark.parametrize(("fault", "reasons"), [("cuttool", []), ("length", ["length"])])
    async def test_it_cuts_arguments(
        self, client: openai.AsyncOpenAI, fault: str, reasons: list[str]
    ) -> None:
        chunks = await stream(client, 'call pay with {"amount": 100}', f"demo-model+{fault}")
        assert arguments_in(chunks) == '{"amount": 10'
        assert reasons_in(chunks) == reasons

    def test_it_makes_langchain_see_a_valid_call_in_a_cut_one(self, demo: DemoModel) -> None:
        model = chat_model(demo, "demo-model+cuttool").bind_tools(TOOLS)
        assert calls(Chat(model, []).say('call pay with {"amount": 100}')) == [("pay", {"amount": 10})]

    async def test_it_cuts_the_named_tool_only_and_only_once(self, client: openai.AsyncOpenAI) -> None:
        model = "demo-model+cuttoolx1=pay"
        assert reasons_in(await stream(client, "where is order 1042", model)) == ["tool_calls"]
        assert reasons_in(await stream(client, 'call pay with {"amount": 100}', model)) == []
        assert reasons_in(await stream(client, 'call pay with {"amount": 100}', model)) == ["tool_calls"]

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("malformed", json.JSONDecodeError),
            ("errorevent", openai.APIError),
            ("abort", (openai.APIConnectionError, httpx.RemoteProtocolError)),
        ],
    )
    async def test_it_breaks_the_stream(self, client: openai.AsyncOpenAI, fault: str, error: Any) -> None:
        with pytest.raises(error):
            await stream(client, "hello", f"demo-model+{fault}")

    async def test_it_hangs_without_a_byte(self, client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.APITimeoutError):
            await stream(client.with_options(timeout=0.3), "hello", "demo-model+hang")

    @pytest.mark.parametrize(
        ("fault", "least", "most"),
        [("stall", 2, 5), ("comments", 0, 0), ("drip=0.2", 1, 5), ("wait=9", 0, 0), ("delay=9", 0, 0)],
    )
    async def test_it_is_slow(self, client: openai.AsyncOpenAI, fault: str, least: int, most: int) -> None:
        seen: list[Any] = []

        async def read() -> None:
            messages: Any = [{"role": "user", "content": "hello"}]
            model = f"demo-model+{fault}"
            answer: Any = await client.chat.completions.create(model=model, messages=messages, stream=True)
            async for chunk in answer:
                seen.append(chunk)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.8)
        assert least <= len(seen) <= most

    async def test_it_serves_others_meanwhile(self, client: openai.AsyncOpenAI) -> None:
        hanging = [asyncio.create_task(stream(client, "hello", "demo-model+stall")) for _ in range(50)]
        assert reasons_in(await stream(client, "hello", "demo-model")) == ["stop"]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    def test_it_cuts_in_the_middle_of_a_number(self) -> None:
        assert cut_arguments('{"amount": 100}') == '{"amount": 10'
        assert cut_arguments('{"order_number": 1042}') == '{"order_number": 10'
        assert cut_arguments('{"a": "b"}') == '{"a":'
