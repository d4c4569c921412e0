"""The model client over real HTTP: what becomes of its connections, and whom it trusts with them."""

from __future__ import annotations

import asyncio
import ssl
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
from runtime import llm

from tests.support.ports import free_port
from tests.support.wire import DONE, FINISH, Answer, Wire, sending, text

pytestmark = pytest.mark.usefixtures("llm_closed")


async def test_cancelling_closes_the_connection(model_at: Any) -> None:
    begun = asyncio.Event()

    async def endless(answer: Answer) -> None:
        await answer.send(text("a"))
        begun.set()
        await answer.until_hung_up()

    async with Wire(endless) as wire:
        asking = asyncio.create_task(model_at(wire.base_url).ainvoke("hello"))
        async with asyncio.timeout(10):
            await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await wire.until_hung_up()


async def test_leaving_a_stream_closes_the_connection(model_at: Any) -> None:
    async def endless(answer: Answer) -> None:
        await answer.send(text("a"))
        await answer.until_hung_up()

    async with Wire(endless) as wire:
        chunks = model_at(wire.base_url).astream("hello")
        await anext(chunks)
        await chunks.aclose()
        await wire.until_hung_up()


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
        await wire.until_hung_up()


async def test_closing_leaves_no_connection(model_at: Any) -> None:
    async with Wire(sending(text("a"), FINISH, DONE)) as wire:
        await model_at(wire.base_url).ainvoke("hello")
        await llm.close()
        await wire.until_hung_up()


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


HOUR = timedelta(hours=1)


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
