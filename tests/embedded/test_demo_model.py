"""The demo model through the clients that the platform uses, over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import httpx
import openai
import pytest
from embedded.demo_model import phrases, reading, stories
from embedded.demo_model.completions import tokens
from embedded.demo_model.faults import cut_arguments
from hypothesis import given
from hypothesis import strategies as st
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


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoModel]:
    with DemoModel() as model:
        yield model


@pytest.fixture
async def client(demo: DemoModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=demo.base_url, api_key="test", max_retries=0, timeout=5) as client:
        yield client


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


@pytest.fixture
def chat(demo: DemoModel) -> Chat:
    return Chat(chat_model(demo).bind_tools(TOOLS), [])


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


def open_stream(demo: DemoModel, model: str) -> socket.socket:
    """A socket that has asked for a stream and reads none of it."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
    line = socket.create_connection(("127.0.0.1", httpx.URL(demo.base_url).port or 0))
    line.sendall(f"{head}{body}".encode())
    return line


def text_in(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def arguments_in(chunks: list[Any]) -> str:
    deltas = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
    return "".join(delta.function.arguments or "" for delta in deltas)


def reasons_in(chunks: list[Any]) -> list[str]:
    return [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]


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


class TestIntents:
    @pytest.mark.parametrize("text", ["hello", "What can you do?", "", "xyzzy", "How are you, model?"])
    def test_it_introduces_itself(self, chat: Chat, text: str) -> None:
        answer = chat.say(text).text
        assert "demo model of Countersign" in answer
        assert all(
            name in answer for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "make run")
        )

    def test_it_looks_an_order_up(self, chat: Chat) -> None:
        assert calls(chat.say("Where is order 1042?")) == [("look_up_order", {"order_number": 1042})]
        answer = chat.give(order(1042)).text
        assert all(word in answer for word in ("1042", "Ada Lovelace", "delivered", "59.90", "Teapot"))
        assert answer.endswith(SIGNATURE)

    def test_it_passes_on_that_there_is_no_such_order(self, chat: Chat) -> None:
        chat.say("look up order 9")
        assert "no order 9" in chat.give("Error: no order 9").text

    def test_it_refunds_what_was_paid(self, chat: Chat) -> None:
        first = chat.say("Refund order 1042")
        assert calls(first) == [("look_up_order", {"order_number": 1042})]
        assert "I am going to refund" in first.text
        second = chat.give(order(1042))
        wanted = {"order_number": 1042, "amount": "59.90", "reason": "Asked for in the chat"}
        assert calls(second) == [("refund_order", wanted)]
        assert "59.90 EUR" in second.text
        answer = chat.give(receipt(1042, "59.90"))
        assert "Done: 59.90 EUR" in answer.text
        assert "R-7" in answer.text
        assert answer.response_metadata["finish_reason"] == "stop"

    def test_it_refunds_the_amount_asked_for_with_the_reason(self, chat: Chat) -> None:
        chat.say("Refund 20 of order 1042 because it broke")
        wanted = {"order_number": 1042, "amount": "20.00", "reason": "it broke"}
        assert calls(chat.give(order(1042))) == [("refund_order", wanted)]

    @pytest.mark.parametrize(
        ("result", "told"),
        [
            ("Rejected by bob: too much", "bob rejected the refund of 59.90 EUR for order 1042: “too much”"),
            ("Rejected by bob: ", "no reason given"),
            ("Error: the bank is closed", "could not complete the refund"),
            ("Denied: no rule allows it", "no rule allows it"),
            ("I paid her in cash.", "A person answered in place of the refund"),
            (receipt(1042, "30.00"), "I asked for 59.90 EUR, and 30.00 EUR was refunded"),
            (receipt(1043, "59.90"), "for order 1043"),
        ],
    )
    def test_it_follows_what_became_of_the_refund(self, chat: Chat, result: str, told: str) -> None:
        chat.say("Refund order 1042")
        chat.give(order(1042))
        answer = chat.give(result)
        assert told in answer.text
        assert answer.tool_calls == []

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            ("Error: no order 1042", "did not ask for a refund"),
            ("Rejected by bob: private", "did not ask for a refund"),
            ("ask me tomorrow", "did not ask for a refund"),
            (json.dumps({**ORDER, "refunded": "59.90"}), "Nothing is left"),
        ],
    )
    def test_it_does_not_refund_an_order_it_cannot_see(self, chat: Chat, found: str, told: str) -> None:
        chat.say("Refund order 1042")
        answer = chat.give(found)
        assert answer.tool_calls == []
        assert told in answer.text

    def test_it_refunds_two_orders_in_one_message(self, chat: Chat) -> None:
        assert len(chat.say("refund orders 1042 and 1043").tool_calls) == 2
        asked = calls(chat.give({"1042": order(1042), "1043": order(1043)}))
        assert [(name, args["order_number"]) for name, args in asked] == [
            ("refund_order", 1042),
            ("refund_order", 1043),
        ]
        answer = chat.give({"1042": receipt(1042, "59.90"), "1043": "Rejected by bob: no"}).text
        assert "Done: 59.90 EUR" in answer
        assert "bob rejected" in answer

    def test_it_refunds_only_the_order_that_was_found(self, chat: Chat) -> None:
        chat.say("refund orders 1042 and 1043")
        asked = chat.give({"1042": "Error: no order 1042", "1043": order(1043)})
        assert [args["order_number"] for _, args in calls(asked)] == [1043]
        answer = chat.give(receipt(1043, "59.90")).text
        assert "no order 1042" in answer
        assert "for order 1043" in answer

    def test_it_sends_an_email(self, chat: Chat) -> None:
        wanted = {"to": "bob@example.com", "subject": "The order is late", "body": "The order is late."}
        assert calls(chat.say("E-mail bob@example.com that the order is late")) == [("send_email", wanted)]
        assert "Sent." in chat.give("Sent.").text

    def test_it_calculates_and_tells_the_time(self, chat: Chat) -> None:
        assert calls(chat.say("what is 12*7+3")) == [("calculator", {"expression": "12*7+3"})]
        assert "12*7+3 = 87" in chat.give("87").text
        assert calls(chat.say("What time is it?")) == [("current_time", {"time_zone": "UTC"})]
        assert "10:15" in chat.give("10:15").text

    def test_it_calls_two_tools_at_once(self, chat: Chat) -> None:
        asked = calls(chat.say("look up order 1042 and calculate 3*7"))
        assert asked == [("look_up_order", {"order_number": 1042}), ("calculator", {"expression": "3*7"})]

    def test_it_calls_any_tool_word_for_word(self, chat: Chat) -> None:
        assert calls(chat.say('call pay with {"amount": 100}')) == [("pay", {"amount": 100})]
        assert "`pay` says: paid" in chat.give("paid").text

    def test_it_tells_a_long_story_in_markdown(self, chat: Chat) -> None:
        answer = chat.say("tell me a long story")
        assert all(mark in answer.text for mark in ("\n## ", "\n1. ", "\n- ", "|---|", "```python\n"))
        assert 400 <= (answer.usage_metadata or {"output_tokens": 0})["output_tokens"] <= 600

    def test_it_calls_no_tool_that_is_not_offered(self, demo: DemoModel) -> None:
        bare = Chat(chat_model(demo), [])
        assert "`look_up_order`" in bare.say("Where is order 1042?").text
        assert "`refund_order`" in bare.say("Refund 20 of order 1042").text

    def test_it_refunds_without_look_up_when_the_amount_is_given(self, demo: DemoModel) -> None:
        chat = Chat(chat_model(demo).bind_tools([schema("refund_order")]), [])
        assert "Tell me the amount" in chat.say("Refund order 1042").text
        assert calls(chat.say("Refund 20 of order 1042"))[0][0] == "refund_order"
        assert "Done: 20.00 EUR" in chat.give(receipt(1042, "20.00")).text

    def test_it_looks_at_the_last_human_message_only(self, chat: Chat) -> None:
        chat.say("Where is order 1042?")
        chat.give(order(1042))
        assert calls(chat.say("Where is order 1043?")) == [("look_up_order", {"order_number": 1043})]

    def test_it_stops_when_a_platform_renames_its_calls(self, chat: Chat) -> None:
        asked = chat.say("Where is order 1042?")
        for _ in range(30):
            if not asked.tool_calls:
                break
            chat.messages[-1] = asked.model_copy(
                update={"tool_calls": [{**call, "name": "pay"} for call in asked.tool_calls]}
            )
            asked = chat.give("paid")
        assert "too often" in asked.text


class TestChinese:
    def test_it_refunds(self, chat: Chat) -> None:
        assert "退还" in chat.say("订单1042退款20元，因为坏了").text
        wanted = {"order_number": 1042, "amount": "20.00", "reason": "坏了"}
        assert calls(chat.give(order(1042))) == [("refund_order", wanted)]
        answer = chat.give("Rejected by bob: 太多").text
        assert "bob 拒绝了" in answer
        assert answer.endswith(phrases.CHINESE.signature)

    @pytest.mark.parametrize(
        ("text", "tool", "arguments"),
        [
            ("退款订单1042", "look_up_order", {"order_number": 1042}),
            ("查询订单 1042", "look_up_order", {"order_number": 1042}),
            ("计算 12*7+3", "calculator", {"expression": "12*7+3"}),
            ("现在几点？", "current_time", {"time_zone": "UTC"}),
            (
                "发邮件给 bob@example.com 说订单晚了",
                "send_email",
                {"to": "bob@example.com", "subject": "订单晚了", "body": "订单晚了。"},
            ),
        ],
    )
    def test_it_calls_tools(self, chat: Chat, text: str, tool: str, arguments: dict[str, Any]) -> None:
        assert calls(chat.say(text)) == [(tool, arguments)]

    def test_it_introduces_itself_and_tells_a_story(self, chat: Chat) -> None:
        assert "演示模型" in chat.say("你好").text
        assert chat.say("长文").text.startswith(stories.CHINESE[:20])


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


class TestReading:
    @given(
        st.text(max_size=200)
        | st.lists(
            st.sampled_from(
                [
                    "refund",
                    "order",
                    "1042",
                    " ",
                    "and",
                    "20",
                    "because",
                    "e-mail",
                    "call",
                    "pay",
                    "with",
                    "{",
                    "退款",
                    ",",
                ]
            ),
            max_size=12,
        ).map(" ".join)
    )
    def test_it_reads_anything(self, text: str) -> None:
        assert reading.read(text)
        assert "".join(tokens(text)) == text

    @pytest.mark.parametrize(
        "piece", [" ", "a", "1", "(", "1-", "1,", "order ", "email ", "call a", "a@b", "\n", "{"]
    )
    def test_it_reads_a_long_text_at_once(self, piece: str) -> None:
        text = (piece * 32_000)[:32_000]
        started = time.monotonic()
        for start in ("", "because ", "order ", "email ", "what is 1"):
            reading.read(start + text)
        assert time.monotonic() - started < 1

    def test_it_has_every_phrase_in_both_languages(self) -> None:
        for field in fields(phrases.Phrases):
            english, chinese = (getattr(said, field.name) for said in (phrases.ENGLISH, phrases.CHINESE))
            assert english != chinese or field.name == "calculation_done"
