"""Whatever pieces a stream comes in, the message is the one that ChatOpenAI makes of it chunk by chunk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from runtime import pace
from runtime.deltas import EventSplitter, Merged, Merger
from runtime.llm import ChatModel
from runtime.model_stream import MergingCompletions

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


class Source(httpx2.AsyncByteStream):
    """A response's bytes, in the pieces a test gives."""

    pieces: list[bytes] = []

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)  # as a network would: others run meanwhile
            yield piece


SOURCE = Source()


def model_of(kind: type[ChatOpenAI], *, merging: bool) -> ChatOpenAI:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, stream=SOURCE))
    model = kind(
        model="m",
        api_key="test",
        http_async_client=openai.DefaultAsyncHttpxClient(transport=transport),
        streaming=True,
        stream_usage=True,
        max_retries=0,
    )
    client = model.root_async_client
    model.async_client = MergingCompletions(client, idle=30) if merging else client.chat.completions
    return model


@pytest.fixture(scope="module", params=[ChatOpenAI, ChatModel])
def pair(request: pytest.FixtureRequest) -> tuple[ChatOpenAI, ChatOpenAI]:
    """The same model, chunk by chunk and merged."""
    return model_of(request.param, merging=False), model_of(request.param, merging=True)


@pytest.fixture(params=[0.0, 10.0], ids=["at once", "at the end"])
def interval(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "rest", lambda: request.param)
        yield


async def read(model: ChatOpenAI) -> tuple[AIMessageChunk | None, str]:
    """The message, or as much of it as came, and the error that ended it."""
    whole: AIMessageChunk | None = None
    error = ""
    try:
        async for chunk in model.astream("hello"):
            chunk.id = None
            whole = chunk if whole is None else whole + chunk
    except Exception as ended:
        error = repr(ended)
    return whole, error


# Streams as endpoints send them, and as they should not.
words = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["", " ", "token", "\ud83d", "退款"])
indexes = st.sampled_from([{"index": 0}, {"index": 1}, {"index": 0}, {"index": None}, {}])
fragments = st.builds(lambda index, more: {**index, "function": {"arguments": more}}, indexes, words)
begun = st.builds(
    lambda index, call, name, more: {
        **index,
        "id": call,
        "type": "function",
        "function": {"name": name, "arguments": more},
    },
    indexes,
    st.sampled_from(["call_0", "call_1", "", None]),
    st.sampled_from(["refund", "look_up", "", None]),
    st.sampled_from(["", "{}", '{"a": 1', None]),
)
odd_calls = st.sampled_from([{"index": 0, "function": None}, {"index": 0}, {"index": 0, "id": "call_0"}])
deltas = st.one_of(
    words.map(lambda more: {"content": more}),
    words.map(lambda more: {"content": more}),
    fragments.map(lambda call: {"tool_calls": [call]}),
    fragments.map(lambda call: {"content": None, "tool_calls": [call]}),
    begun.map(lambda call: {"tool_calls": [call]}),
    st.lists(fragments | begun | odd_calls, max_size=3).map(lambda calls: {"tool_calls": calls}),
    st.sampled_from(
        [
            {},
            {"role": "assistant", "content": ""},
            {"role": "assistant", "content": "as ever", "refusal": None},
            {"refusal": "I can't help with that."},
            {"reasoning_content": "Let me see", "content": None},
            {"content": "a", "id": "chatcmpl-1"},
            {"function_call": {"name": None, "arguments": "{"}},
        ]
    ),
)
choices = st.builds(
    lambda delta, more: {"index": 0, "delta": delta, **more},
    deltas,
    st.sampled_from(
        [
            {},
            {},
            {"finish_reason": None, "logprobs": None},
            {"finish_reason": "stop"},
            {"finish_reason": "tool_calls"},
            {"logprobs": {"content": [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}},
            {"content_filter_results": {"hate": {"filtered": False}}},
        ]
    ),
)
usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
extras = st.sampled_from(
    [
        {},
        {},
        {"usage": None},
        {"provider": "Other"},
        {"obfuscation": "x8"},
        {"service_tier": "flex"},
        {"usage": usage},
    ]
)
chunks = st.builds(
    lambda choice, more: {**HEAD, "choices": [choice], **more}, choices, extras
) | st.sampled_from(
    [{**HEAD, "choices": [], "usage": usage}, {**HEAD, "choices": []}, {**HEAD, "choices": None}]
)
FINISH = {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
endings = st.sampled_from(
    [
        [],
        ["[DONE]"],
        [json.dumps(FINISH), json.dumps({**HEAD, "choices": [], "usage": usage}), "[DONE]", "never read"],
        ['{"error": {"message": "overloaded", "code": 500}}'],
        ['{"error": "overloaded"}'],
        ['{"id": "c'],
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """A stream's bytes, cut anywhere."""
    events = [*map(json.dumps, draw(st.lists(chunks, max_size=20))), *draw(endings)]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    before = draw(st.sampled_from(["", f": keep-alive{end}{end}", f"event: message{end}"]))
    blank = draw(st.sampled_from(["", " "]))
    written = "".join(f"{before}data:{blank}{data}{end}{end}" for data in events).encode()
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(written) - 1)), max_size=12)))
    return [written[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(written)], strict=True)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=streams())
def test_merging_changes_no_message(
    pair: tuple[ChatOpenAI, ChatOpenAI], interval: None, pieces: list[bytes]
) -> None:
    SOURCE.pieces = pieces

    chunk_by_chunk, in_one = (asyncio.run(read(model)) for model in pair)

    assert in_one == chunk_by_chunk


@given(st.lists(st.sampled_from(["data: a", "data:b", "data", ": c", "event: d", "", "", "id"])), st.data())
def test_events_are_the_same_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    written = "".join(f"{line}{end}" for line in lines).encode()
    whole = EventSplitter().feed(written)

    splitter = EventSplitter()
    assert [event for byte in written for event in splitter.feed(bytes([byte]))] == whole


def test_an_events_lines_are_joined_and_one_without_its_blank_line_waits() -> None:
    splitter = EventSplitter()

    assert splitter.feed(b"data: a\ndata:b\r\n\r\ndata: c\n") == [b"a\nb"]
    assert splitter.feed(b"\n") == [b"c"]


def merged(*deltas: dict[str, Any]) -> list[Any]:
    """The deltas of the chunks that come out."""
    merger = Merger()
    for delta in deltas:
        merger.add({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    out = [item.as_chunk() if isinstance(item, Merged) else item for item in merger.take()]
    return [chunk["choices"][0]["delta"] for chunk in out]


def call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, **more, "function": {"arguments": arguments}}]}


def test_text_and_fragments_that_wait_become_one_chunk() -> None:
    assert merged({"content": "a"}, {"content": None}, {"content": "b"}) == [{"content": "ab"}]
    assert merged(call("a"), call("b", index=1), call("c")) == [
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": "ac"}},
                {"index": 1, "function": {"arguments": "b"}},
            ]
        }
    ]


def test_the_beginning_of_a_call_takes_nothing_in() -> None:
    begun = call("", id="call_0")

    assert merged(call("a"), begun, call("b"), call("c")) == [call("a"), begun, call("bc")]


def test_what_is_not_known_stays_as_it_is() -> None:
    thought = {"reasoning_content": "hm", "content": None}

    assert merged({"content": "a"}, thought, thought, {"content": "b"}) == [
        {"content": "a"},
        thought,
        thought,
        {"content": "b"},
    ]


def test_nothing_waits_once_it_was_taken() -> None:
    merger = Merger()
    merger.add({**HEAD, "choices": []})

    assert merger
    assert len(merger.take()) == 1
    assert not merger
    assert not merger.has_spoken
