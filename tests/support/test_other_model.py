"""The other model: it speaks the protocol too, in its own way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.support.other_model import WORDS, OtherModel

REFUND_ORDER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "refund_order",
        "parameters": {
            "type": "object",
            "properties": {
                "order_number": {"type": "integer"},
                "amount": {"type": "string"},
                "reason": {"type": "string"},
            },
        },
    },
}


@pytest.fixture
def other() -> Iterator[OtherModel]:
    with OtherModel(seed=7) as model:
        yield model


def chat_model(other: OtherModel) -> Any:
    model = ChatOpenAI(
        model=other.model,
        base_url=other.base_url,
        api_key=SecretStr("k"),
        max_retries=0,
        timeout=5,
        stream_usage=True,
    )
    return model.bind_tools([REFUND_ORDER])


def said(other: OtherModel, *messages: Any) -> Any:
    chunks = iter(chat_model(other).stream(list(messages)))
    message = next(chunks)
    for chunk in chunks:
        message += chunk
    return message


def raw_stream(other: OtherModel, body: bytes) -> bytes:
    address = urlsplit(other.base_url)
    request = b"POST /api/v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection((address.hostname, address.port), timeout=5) as line:
        line.sendall(request)
        return b"".join(iter(lambda: line.recv(4096), b""))


def test_it_says_the_same_random_words_for_the_same_seed(other: OtherModel) -> None:
    first = said(other, HumanMessage("hello"))
    with OtherModel(seed=7) as same, OtherModel(seed=8) as different:
        assert said(same, HumanMessage("hello")).text == first.text
        assert said(different, HumanMessage("hello")).text != first.text
    assert set(first.text.split()) <= set(WORDS)
    assert first.usage_metadata["total_tokens"] > 0


def test_it_refunds_straight_away_and_passes_the_result_on(other: OtherModel) -> None:
    question = HumanMessage("Please refund 12.50 for order 1042")
    asked = said(other, question)
    call = asked.tool_calls[0]
    assert (call["id"], call["name"]) == ("call_0", "refund_order")
    assert (call["args"]["order_number"], call["args"]["amount"]) == (1042, "12.50")
    answer = said(other, question, asked, ToolMessage("Rejected by bob: no", tool_call_id="call_0"))
    assert answer.text.endswith(": Rejected by bob: no")
    assert answer.tool_calls == []


def test_it_uses_the_same_ids_in_every_message(other: OtherModel) -> None:
    twice = [said(other, HumanMessage(f"refund orders {number}1 and {number}2")) for number in (104, 105)]
    assert [[call["id"] for call in message.tool_calls] for message in twice] == [["call_0", "call_1"]] * 2


def test_it_answers_whole_without_stream(other: OtherModel) -> None:
    with openai.OpenAI(base_url=other.base_url, api_key="k", max_retries=0) as client:
        answer: Any = client.chat.completions.create(
            model=other.model,
            messages=[{"role": "user", "content": "refund order 1042"}],
            tools=[REFUND_ORDER],  # type: ignore[list-item]
        )
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.tool_calls[0].id == "call_0"
    assert answer.provider == "Other"


def test_it_writes_the_stream_in_its_own_way(other: OtherModel) -> None:
    body = b'{"stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    head, _, stream = raw_stream(other, body).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert stream.startswith(b": OTHER PROCESSING\r\n\r\ndata:{")
    assert stream.endswith(b"data:[DONE]\r\n\r\n")


def test_it_records_what_it_was_asked(other: OtherModel) -> None:
    said(other, HumanMessage("hello"))
    assert [request["messages"][-1]["content"] for request in other.requests] == ["hello"]
    assert other.requests[0]["stream"] is True


def test_it_answers_many_at_once(other: OtherModel) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: said(other, HumanMessage(f"hello {n}")), range(40)))
    assert all(message.text for message in answers)
    assert len(other.requests) == 40
