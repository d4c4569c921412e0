"""The model client over real HTTP: no answer is waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal
from math import ceil
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pytest_django.fixtures import Settings
from runtime import prices
from runtime.context import RunContext, current_run
from runtime.exceptions import ModelAnswerIncomplete
from runtime.llm import ChatModel
from runtime.meter import BYTES_A_TOKEN
from runtime.models import Run
from runtime.prices import Price, Rates

from tests.support.ports import free_port
from tests.support.wire import Answer, Wire, sending, text

pytestmark = pytest.mark.usefixtures("llm_closed")


async def test_keep_alive_comments_are_no_sign_of_life(model_at: Any) -> None:
    async def comments(answer: Answer) -> None:
        await answer.send(text("a"))
        while True:
            await answer.send(b": keep-alive\n\n")
            await asyncio.sleep(0.01)

    async with Wire(comments) as wire:
        model = model_at(wire.base_url, MODEL_IDLE_TIMEOUT=1.0)
        with pytest.raises(TimeoutError):
            await model.ainvoke("hello")
        await wire.until_hung_up()


async def test_an_answer_that_goes_on_for_too_long_is_cut(model_at: Any) -> None:
    async def forever(answer: Answer) -> None:
        while True:
            await answer.send(text("a"))
            await asyncio.sleep(0.01)

    async with Wire(forever) as wire:
        model = model_at(wire.base_url, MODEL_TIME_LIMIT=1.0)
        with pytest.raises(TimeoutError):
            await model.ainvoke("hello")
        await wire.until_hung_up()


async def test_the_time_limit_strikes_in_the_model_not_in_its_reader(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    async def stuck(*_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("a"))
        await asyncio.sleep(60)

    monkeypatch.setattr(ChatOpenAI, "_astream", stuck)
    settings.MODEL_TIME_LIMIT = 0.3
    chunks = ChatModel(api_key="test", model="any")._astream([HumanMessage("go")])

    await anext(chunks)
    await asyncio.sleep(0.4)  # a reader at work while the limit passes
    with pytest.raises(TimeoutError):
        await anext(chunks)


async def test_the_limit_of_a_call_holds_when_its_cancellation_is_swallowed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """As Python 3.11's wait_for does when a chunk arrives at the moment of the limit."""

    async def deaf(*_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for _ in range(20):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            yield ChatGenerationChunk(message=AIMessageChunk("on and on"))

    monkeypatch.setattr(ChatOpenAI, "_astream", deaf)
    settings.MODEL_TIME_LIMIT = 0.1
    model = ChatModel(api_key="test", model="any")

    with pytest.raises(TimeoutError):
        await take_all(model._astream([HumanMessage("go")]))


async def take_all(chunks: AsyncIterator[Any]) -> None:
    async for _ in chunks:
        pass


async def test_silence_before_the_first_byte_is_bounded(model_at: Any) -> None:
    async def silent(answer: Answer) -> None:
        await answer.until_hung_up()

    async with Wire(silent) as wire:
        model = model_at(wire.base_url, MODEL_IDLE_TIMEOUT=0.5)
        with pytest.raises(openai.APITimeoutError):
            await model.ainvoke("hello")

    assert len(wire.requests) == 3  # the openai client's own retries


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> RunContext:
    one = Price(Decimal(1), Decimal(1), Decimal(1))
    monkeypatch.setattr(prices, "known", lambda: Rates(False, {"demo-model": one}))
    return RunContext(Run())


@pytest.mark.parametrize("blocks", [False, True])
async def test_tries_that_nobody_answered_are_counted(
    model_at: Any, context: RunContext, blocks: bool
) -> None:
    """An endpoint may charge for each."""

    async def silent(answer: Answer) -> None:
        await answer.until_hung_up()

    current_run.set(context)
    async with Wire(silent) as wire:
        model = model_at(wire.base_url, MODEL_IDLE_TIMEOUT=0.3)
        with pytest.raises(openai.APITimeoutError):
            await (asyncio.to_thread(model.invoke, "hello") if blocks else model.ainvoke("hello"))

    (call,) = context.meter.calls
    (_, body), *_rest = wire.received
    assert len(wire.requests) == 3
    assert call["is_estimated"]
    assert 3 * 10 < call["input_tokens"] <= 3 * len(body)
    assert call["input_tokens"] % 3 == 0
    assert context.meter.cost == Decimal(call["input_tokens"]) / 1_000_000


async def test_an_answer_that_breaks_off_is_counted_in_bytes(model_at: Any, context: RunContext) -> None:
    current_run.set(context)
    said = "蜜蜂在花间飞舞"
    async with Wire(sending(text(said))) as wire:
        with pytest.raises(ModelAnswerIncomplete):
            await model_at(wire.base_url).ainvoke("hello")

    (call,) = context.meter.calls
    assert call["output_tokens"] == ceil(len(said.encode()) / BYTES_A_TOKEN)


async def test_a_silence_after_the_headers_is_charged(model_at: Any, context: RunContext) -> None:
    async def comments(answer: Answer) -> None:
        while True:
            await answer.send(b": keep-alive\n\n")
            await asyncio.sleep(0.01)

    current_run.set(context)
    async with Wire(comments) as wire:
        with pytest.raises(TimeoutError):
            await model_at(wire.base_url, MODEL_TIME_LIMIT=0.5).ainvoke("hello")

    (call,) = context.meter.calls
    assert call["input_tokens"] > 10


@pytest.mark.parametrize("blocks", [False, True])
async def test_an_endpoint_that_is_not_there_costs_nothing(
    model_at: Any, context: RunContext, blocks: bool
) -> None:
    current_run.set(context)
    model = model_at(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(openai.APIConnectionError):
        await (asyncio.to_thread(model.invoke, "hello") if blocks else model.ainvoke("hello"))

    assert context.meter.calls == []
