"""The measuring instruments themselves: a model endpoint that keeps its pace, and tokens that say their age."""

from __future__ import annotations

import time
from collections.abc import Iterator

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks import model, stamps


@pytest.fixture(scope="module")
def endpoint() -> Iterator[model.Endpoint]:
    with model.running(tokens=20, pace=5) as running:
        yield running


async def answer(endpoint: model.Endpoint) -> list[AIMessageChunk]:
    async with openai.DefaultAsyncHttpxClient() as http:
        client = ChatOpenAI(
            model=model.NAME,
            base_url=endpoint.base_url,
            api_key=SecretStr("bench"),
            stream_usage=True,
            http_async_client=http,
        )
        return [chunk async for chunk in client.astream("Say something.")]


async def test_every_token_comes_at_its_time(endpoint: model.Endpoint) -> None:
    started = time.monotonic()
    chunks = await answer(endpoint)
    text = "".join(str(chunk.text) for chunk in chunks)

    assert len(stamps.Reader().ages(text)) == 20
    assert time.monotonic() - started >= 19 * 0.005


async def test_an_answer_ends_as_openai_ends_it(endpoint: model.Endpoint) -> None:
    chunks = await answer(endpoint)
    reasons = [chunk.response_metadata.get("finish_reason") for chunk in chunks]
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]

    assert [reason for reason in reasons if reason] == ["stop"]
    assert [each["output_tokens"] for each in usage] == [20]


@given(st.lists(st.integers(0, 36**9 - 1), max_size=20), st.integers(1, 30))
def test_tokens_are_read_however_their_text_is_cut(times: list[int], size: int) -> None:
    text = "".join(stamps.stamp(at) for at in times)
    reader = stamps.Reader()
    found = [age for start in range(0, len(text), size) for age in reader.ages(text[start : start + size])]

    assert len(found) == len(times)
    assert (reader.disordered == 0) == (times == sorted(times))


def test_a_token_says_how_long_it_travelled() -> None:
    (age,) = stamps.Reader().ages(stamps.stamp(stamps.now() - 5000))

    assert 5 <= age < 1000
