from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pytest_django.fixtures import Settings
from runtime.llm import ChatModel


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
