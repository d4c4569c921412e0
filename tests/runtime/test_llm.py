"""The model client over real HTTP: how streams are handed on, how they end, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from pytest_django.fixtures import Settings
from runtime import llm, model_stream, pace
from runtime.exceptions import ModelAnswerIncomplete
from runtime.llm import ChatModel

from tests.support.demo import DemoModel
from tests.support.ports import free_port
from tests.support.wire import DONE, Answer, Script, Wire, event, text

HOUR = timedelta(hours=1)
FINISH = event(reason="stop")


@pytest.fixture(autouse=True)
async def _close() -> AsyncIterator[None]:
    yield
    await llm.close()


@pytest.fixture
def model_at(settings: Settings) -> Any:
    def make(base_url: str, **limits: float) -> ChatModel:
        for name, seconds in limits.items():
            setattr(settings, name, seconds)
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = base_url, "demo-model"
        return llm.chat_model()

    return make


class Hearing(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.text = ""

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **more: Any) -> None:
        assert isinstance(chunk.message, AIMessageChunk)
        self.text += token


def sending(*pieces: bytes) -> Script:
    """Answers with these bytes."""

    async def script(answer: Answer) -> None:
        for piece in pieces:
            await answer.send(piece)
        await answer.end()

    return script


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
        await wire.hung_up.wait()


async def test_an_answer_that_goes_on_for_too_long_is_cut(model_at: Any) -> None:
    async def forever(answer: Answer) -> None:
        while True:
            await answer.send(text("a"))
            await asyncio.sleep(0.01)

    async with Wire(forever) as wire:
        model = model_at(wire.base_url, MODEL_TIME_LIMIT=1.0)
        with pytest.raises(TimeoutError):
            await model.ainvoke("hello")
        await wire.hung_up.wait()


async def test_the_time_limit_strikes_in_the_model_not_in_its_reader(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    async def stuck(*_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("a"))
        await asyncio.Event().wait()

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


async def test_cancelling_closes_the_connection(model_at: Any) -> None:
    begun = asyncio.Event()

    async def endless(answer: Answer) -> None:
        await answer.send(text("a"))
        begun.set()
        await answer.until_hung_up()

    async with Wire(endless) as wire:
        asking = asyncio.create_task(model_at(wire.base_url).ainvoke("hello"))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await wire.hung_up.wait()


async def test_leaving_a_stream_closes_the_connection(model_at: Any) -> None:
    async def endless(answer: Answer) -> None:
        await answer.send(text("a"))
        await answer.until_hung_up()

    async with Wire(endless) as wire:
        chunks = model_at(wire.base_url).astream("hello")
        await anext(chunks)
        await chunks.aclose()
        await wire.hung_up.wait()


@pytest.mark.parametrize("after", [[], [b": the end\n\n"]], ids=["nothing", "a comment"])
async def test_an_answer_read_to_its_end_leaves_its_connection_for_the_next(
    model_at: Any, after: list[bytes]
) -> None:
    async with Wire(sending(text("a"), FINISH, DONE, *after)) as wire:
        model = model_at(wire.base_url)
        for _ in range(3):
            await model.ainvoke("hello")

    assert (len(wire.requests), wire.connections) == (3, 1)


async def test_a_response_that_does_not_end_after_its_answer_holds_nothing_up(model_at: Any) -> None:
    async def lingering(answer: Answer) -> None:
        await answer.send(text("a") + FINISH + DONE)
        await answer.until_hung_up()

    async with Wire(lingering) as wire:
        assert (await model_at(wire.base_url).ainvoke("hello")).text == "a"
        await wire.hung_up.wait()


async def test_closing_leaves_no_connection(model_at: Any) -> None:
    async with Wire(sending(text("a"), FINISH, DONE)) as wire:
        await model_at(wire.base_url).ainvoke("hello")
        await llm.close()
        await wire.hung_up.wait()


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


async def test_a_connection_that_breaks_raises_as_the_openai_client_does(model_at: Any) -> None:
    async def breaking(answer: Answer) -> None:
        await answer.send(text("a"))
        answer.abort()

    async with Wire(breaking) as wire:
        with pytest.raises(openai.APIConnectionError) as caught:
            await model_at(wire.base_url).ainvoke("hello")

    assert not isinstance(caught.value, openai.APITimeoutError)


async def test_an_endpoint_that_is_not_there_is_not_one_that_is_slow(model_at: Any) -> None:
    with pytest.raises(openai.APIConnectionError) as caught:
        await model_at(f"http://127.0.0.1:{free_port()}/v1").ainvoke("hello")

    assert "can't be reached" in llm.explain(caught.value)


async def test_a_hang_up_before_the_first_byte_is_no_timeout(model_at: Any) -> None:
    async def hang_up(answer: Answer) -> None:
        answer.abort()

    async with Wire(hang_up) as wire:
        with pytest.raises(openai.APIConnectionError) as caught:
            await model_at(wire.base_url).ainvoke("hello")

    assert "can't be reached" in llm.explain(caught.value)
    assert len(wire.requests) == 3  # the openai client's own retries


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


async def test_a_certificate_nobody_vouches_for_is_refused_and_one_from_the_environment_is_not(
    model_at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified(tmp_path / "server.pem")
    async with Wire(sending(text("a"), FINISH, DONE), tls=context) as wire:
        with pytest.raises(openai.APIConnectionError):
            await model_at(wire.base_url).ainvoke("hello")
        assert wire.requests == []
        await llm.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        assert (await model_at(wire.base_url).ainvoke("hello")).text == "a"


def certified(path: Path) -> ssl.SSLContext:
    """A server's context with a self-signed certificate for 127.0.0.1, which goes to `path` with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + HOUR)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    path.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_the_environments_proxy_is_used_except_where_it_is_not_wanted(
    model_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Wire(sending(text("a"), FINISH, DONE)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        await model_at("http://model.example/v1").ainvoke("hello")
        await llm.close()
        await model_at(proxy.base_url).ainvoke("hello")

    assert proxy.requests == [
        "POST http://model.example/v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1",
    ]
