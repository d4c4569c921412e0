"""The openai client's streams, read so that deltas which arrive together are handed on together.

Most of a token's cost is what is done once per chunk, above the network. ChatOpenAI keeps its own request,
retries, errors and messages: it is given a `chat.completions` whose streams have fewer, longer chunks.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpx2
import openai
from openai.resources.chat import AsyncCompletions
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from runtime import pace
from runtime.deltas import Chunk, EventSplitter, Merged, Merger
from runtime.meter import metered

END_WITHIN = 0.1  # seconds after "[DONE]"; as in the openai client. A connection that then ends is used again
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
UNREADABLE = (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream)  # as in the openai client

#: A request of these alone is answered by text, tool calls and usage. Any other stream is left as it is.
USUAL = {
    *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls"),
    *("temperature", "top_p", "seed", "stop", "max_tokens", "max_completion_tokens", "reasoning_effort"),
    *("presence_penalty", "frequency_penalty", "verbosity", "service_tier", "store", "user", "metadata"),
}


class HttpClient(openai.DefaultAioHttpClient):
    """On aiohttp, whose parser in C reads a token for a third less. It says of an endpoint that is not there
    that it timed out; here that is the ConnectError it is with httpx.
    """

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        with _noted() as noted:
            try:
                return noted(await super().send(request, **how))
            except httpx2.ConnectTimeout as error:
                if isinstance(error.__cause__, TimeoutError):
                    raise
                raise httpx2.ConnectError(str(error), request=request) from error


class BlockingHttpClient(openai.DefaultHttpxClient):
    """For nodes that block."""

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        with _noted() as noted:
            return noted(super().send(request, **how))


class _Nobodys:
    """Tries outside of a run."""

    sent = 0


@contextmanager
def _noted() -> Iterator[Callable[[httpx2.Response], httpx2.Response]]:
    """Counts one try of the call under way, whatever cuts it off: the openai client sends some again, and the endpoint
    may charge for each. Not one that never went out, nor one that its status refuses.
    """
    call = metered.get(None) or _Nobodys()
    call.sent += 1

    def noted(response: httpx2.Response) -> httpx2.Response:
        if response.is_error:
            call.sent -= 1
        return response

    try:
        yield noted
    except NOT_SENT:
        call.sent -= 1
        raise


class MergingCompletions(AsyncCompletions):
    """`chat.completions` with merged streams. `idle`: seconds without a chunk after which one is given up."""

    def __init__(self, client: openai.AsyncOpenAI, *, idle: float) -> None:
        super().__init__(client)
        self._idle = idle

    async def create(self, *args: Any, **payload: Any) -> Any:
        if args or not payload.get("stream") or not payload.keys() <= USUAL:
            return await super().create(*args, **payload)
        # Not the client's own `create`: it holds every message against its types, half of a long thread's time,
        # to turn into the wire's form what is in it already.
        answer = await self._client.post(
            "/chat/completions",
            body=payload,
            cast_to=ChatCompletion,
            stream=True,
            stream_cls=openai.AsyncStream[ChatCompletionChunk],
        )
        return MergedStream(answer, idle=self._idle)


class MergedStream:
    """One answer's chunks, to be gone through once, inside `async with`: its end closes the connection.

    A task of its own reads, so that a delta is never held up by one that has yet to come.
    """

    def __init__(self, stream: openai.AsyncStream[ChatCompletionChunk], *, idle: float) -> None:
        self._stream = stream
        self._idle = idle
        self._splitter = EventSplitter()
        self._merger = Merger()
        self._wake = asyncio.Event()
        self._rest: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> MergedStream:
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda reader: self._wake.set())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._stream.close()

    async def __aiter__(self) -> AsyncIterator[Chunk | ChatCompletionChunk]:
        while True:
            async with asyncio.timeout(self._idle):
                await self._wake.wait()
            self._wake.clear()
            has_ended = self._reader.done()
            waiting = self._merger.take()
            if self._merger.has_spoken and not has_ended:
                self._start_rest()
            for item in waiting:
                # The openai client's own type fills in what a chunk leaves out; a merged one is whole.
                yield item.as_chunk() if isinstance(item, Merged) else ChatCompletionChunk.construct(**item)
            if has_ended:
                self._reader.result()  # raises what ended it
                return

    def _start_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(pace.rest(), self._end_rest)

    def _end_rest(self) -> None:
        self._rest = None
        if self._merger:
            self._wake.set()

    async def _read(self) -> None:
        """Takes in the answer, then reads on to the end of the response."""
        pieces = self._stream.response.aiter_bytes()
        try:
            async for piece in pieces:
                if self._take_in(piece):
                    break
        except httpx2.ReadTimeout as error:
            raise openai.APITimeoutError(request=self._stream.response.request) from error
        except UNREADABLE as error:
            raise openai.APIConnectionError(request=self._stream.response.request) from error
        self._wake.set()
        with suppress(TimeoutError, *UNREADABLE):  # the answer is whole: how the response ends is no matter
            async with asyncio.timeout(END_WITHIN):
                async for _ in pieces:
                    pass

    def _take_in(self, piece: bytes) -> bool:
        """True at the end of the answer."""
        for event in self._splitter.feed(piece):
            if event.startswith(b"[DONE]"):
                return True
            self._merger.add(self._chunk(event))
        if self._rest is None and self._merger:
            self._wake.set()
        return False

    def _chunk(self, event: bytes) -> Chunk:
        """Raises JSONDecodeError or UnicodeDecodeError, and what the openai client does for an error event."""
        text = event.decode()
        chunk = json.loads(text)
        if not isinstance(chunk, dict):
            raise json.JSONDecodeError("not an object", text, 0)
        if error := chunk.get("error"):
            said = error.get("message") if isinstance(error, dict) else None
            message = said if said and isinstance(said, str) else "An error occurred during streaming"
            raise openai.APIError(message, self._stream.response.request, body=error)
        return chunk
