"""The model client over real HTTP: how streams are handed on, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from runtime import llm, model_stream, pace
from runtime.exceptions import ModelAnswerIncomplete
from runtime.llm import ChatModel

from tests.support.demo import DemoModel
from tests.support.wire import DONE, FINISH, Answer, Wire, event, sending, text

pytestmark = pytest.mark.usefixtures("llm_closed")


class Hearing(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.text = ""

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **more: Any) -> None:
        assert isinstance(chunk.message, AIMessageChunk)
        self.text += token


async def test_what_is_asked_is_what_the_stock_client_asks(model_at: Any) -> None:
    """Merged streams are asked for past the client's own `create`."""
    history = [
        HumanMessage("refund 1042 — 退款"),
        AIMessage(
            "", tool_calls=[{"name": "refund", "args": {"order": 1042}, "id": "call_1", "type": "tool_call"}]
        ),
        ToolMessage("done", tool_call_id="call_1"),
    ]
    tools = [{"type": "function", "function": {"name": "refund", "parameters": {"type": "object"}}}]
    async with Wire(sending(text("a") + FINISH + DONE)) as wire:
        for stock in (False, True):
            model = model_at(wire.base_url)
            if stock:
                model.async_client = model.root_async_client.chat.completions
            await model.bind_tools(tools).ainvoke(history)
        (ours, our_body), (theirs, their_body) = wire.received

    assert json.loads(our_body) == json.loads(their_body)
    assert headers_of(ours) == headers_of(theirs)
    assert headers_of(ours)["authorization"].startswith("Bearer ")


def headers_of(head: str) -> dict[str, str]:
    lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
    varying = {"x-stainless-read-timeout"}
    return {name.lower(): value for name, _, value in lines if name.lower() not in varying}


async def test_a_delta_that_waits_alone_is_handed_on_before_another_comes(model_at: Any) -> None:
    received = asyncio.Event()

    async def one_at_a_time(answer: Answer) -> None:
        await answer.send(event({"role": "assistant", "content": ""}))
        for word in ("a", "b", "c"):
            await answer.send(text(word))
            async with asyncio.timeout(10):
                await received.wait()
            received.clear()
        await answer.send(FINISH + DONE)
        await answer.end()

    said = []
    async with Wire(one_at_a_time) as wire:
        async for chunk in model_at(wire.base_url).astream("hello"):
            if chunk.text:
                said.append(chunk.text)
                received.set()

    assert said == ["a", "b", "c"]


async def test_deltas_that_arrive_together_are_handed_on_together(model_at: Any) -> None:
    words = b"".join(map(text, "bcdef"))
    async with Wire(sending(text("a"), words + FINISH + DONE)) as wire:
        said = [str(chunk.text) async for chunk in model_at(wire.base_url).astream("hello")]

    assert "".join(said) == "abcdef"
    assert len([more for more in said if more]) <= 2


async def test_deltas_wait_for_the_end_of_the_rest_but_never_for_more_than_the_end(
    model_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "rest", lambda: 3600.0)
    async with Wire(sending(*map(text, "abc"), FINISH, DONE)) as wire:
        answer = await model_at(wire.base_url).ainvoke("hello")

    assert answer.text == "abc"


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([text("a")], ModelAnswerIncomplete),
        ([text("a"), DONE], ModelAnswerIncomplete),
        ([text("a"), b'data: {"id": "c\n\n'], ModelAnswerIncomplete),
        ([text("a"), b"data: [1]\n\n"], ModelAnswerIncomplete),
        ([text("a"), b'data: {"id": "\xff"}\n\n'], ModelAnswerIncomplete),
        ([text("a"), b'data: {"error": {"message": "overloaded"}}\n\n'], openai.APIError),
        ([text("a"), b'data: {"error": "overloaded"}\n\n'], openai.APIError),
    ],
    ids=["no finish reason", "only [DONE]", "cut JSON", "no object", "no UTF-8", "error", "error as text"],
)
async def test_a_broken_stream_hands_on_what_came_then_raises(
    model_at: Any, pieces: list[bytes], error: type[Exception]
) -> None:
    hearing = Hearing()
    async with Wire(sending(b"".join(pieces))) as wire:
        with pytest.raises(error):
            await model_at(wire.base_url).ainvoke("hello", {"callbacks": [hearing]})

    assert hearing.text == "a"


async def test_a_call_whose_arguments_were_cut_is_never_handed_on_as_one(model_at: Any) -> None:
    begun = {"index": 0, "id": "call_0", "type": "function", "function": {"name": "refund", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"amount": 10'}}
    cut = [event({"tool_calls": [begun]}), event({"tool_calls": [more]})]
    for end in ([], [event(reason="length"), DONE], [event(reason="tool_calls"), DONE]):
        async with Wire(sending(*cut, *end)) as wire:
            with pytest.raises(ModelAnswerIncomplete):
                await model_at(wire.base_url).ainvoke("refund 100")
        await llm.close()


async def test_a_refused_request_is_tried_again_then_raises(model_at: Any, demo_model: DemoModel) -> None:
    assert (await ask(model_at(demo_model.base_url), "demo-model+500x1,429x1")).text
    with pytest.raises(openai.AuthenticationError):
        await ask(model_at(demo_model.base_url), "demo-model+401")


async def ask(model: ChatModel, name: str) -> AIMessage:
    return await model.bind(model=name).ainvoke("hello")


@tool
def look_up_order(order_number: int) -> str:
    """Look an order up."""
    return ""


@pytest.mark.parametrize("question", ["hello", "look up orders 1042 and 1043"])
async def test_the_demo_models_answer_is_the_one_chat_openai_gives(
    model_at: Any, demo_model: DemoModel, question: str
) -> None:
    ours = model_at(demo_model.base_url)
    stock = ChatOpenAI(
        model="demo-model",
        base_url=demo_model.base_url,
        api_key=SecretStr("test"),
        http_async_client=openai.DefaultAsyncHttpxClient(),
        streaming=True,
        stream_usage=True,
    )
    answers = [await model.bind_tools([look_up_order]).ainvoke(question) for model in (ours, stock)]
    await stock.root_async_client.close()

    mine, theirs = (answer.model_dump(exclude={"id"}) for answer in answers)
    for calls in (mine["tool_calls"], theirs["tool_calls"]):
        for call in calls:
            call.pop("id")
    assert mine == theirs
    assert mine["usage_metadata"]["output_tokens"] > 0


async def test_a_request_out_of_the_ordinary_is_streamed_as_it_was(model_at: Any) -> None:
    logprob = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [logprob]}}
    async with Wire(sending(event(choices=[choice]), FINISH, DONE)) as wire:
        model = model_at(wire.base_url)
        answer = await model.bind(logprobs=True).ainvoke("hello")
        assert not isinstance(
            await model.async_client.create(**payload(logprobs=True)), model_stream.MergedStream
        )

    assert answer.response_metadata["logprobs"]["content"][0]["token"] == "a"


def payload(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True, **more}


async def test_callbacks_see_every_chunk(model_at: Any) -> None:
    hearing = Hearing()
    async with Wire(sending(*map(text, "abc"), FINISH, DONE)) as wire:
        await model_at(wire.base_url).ainvoke("hello", {"callbacks": [hearing]})

    assert hearing.text == "abc"
