"""Daphne, with bounds: on the body of a request, on requests that do not end, on what waits to be sent.

Daphne reads all of a body, and hands it on in pieces that it keeps, before Django sees the request: settings bound
what Django parses, not what this process takes in. It sends whatever it is given, an export of any size, however much
waits for a reader who does not read. `python -m config.server` is Daphne's own command line.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from typing import Any

from daphne import server  # first: it installs the reactor that all else of Twisted takes
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings

from config import unfinished
from config.unfinished import Unfinished

logger = logging.getLogger(__name__)

LINGER = (
    2.0  # seconds for which a refused sender is read and forgotten; a reset would take the answer from it
)

STALL = 30.0  # seconds for which a reader may take nothing of what waits, before it is dropped

SWITCH_INTERVAL = 0.0005  # seconds a thread that draws a page lets sockets wait, of Python's 5 ms

REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 23\r\n"
    b"Connection: close\r\n"
    b"\r\n"
    b"This is more than fits\n"
)


UNFINISHED = Unfinished()


def max_body_bytes() -> int:
    """Twice what Django parses, for the encoding of a form around its text."""
    return 2 * int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0)


def _forget(data: bytes) -> None:
    """What a refused sender goes on to send."""


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne has no types
    """Answers 413 as soon as the body is known to be too large: by its header, or by what has come of it."""

    _received = 0
    _is_refused = False
    flow: Flow | None = None

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        UNFINISHED.begin(channel, unfinished.READ_WITHIN)
        super().__init__(channel, *args, **kwargs)

    def gotLength(self, length: int | None) -> None:  # Twisted's name
        if (length or 0) > max_body_bytes():
            self._refuse()
            return
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # Twisted's name
        self._received += len(data)
        if self._received > max_body_bytes():
            self._refuse()
        if not self._is_refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._is_refused:
            UNFINISHED.end(self.channel)
            super().requestReceived(command, path, version)

    def handle_reply(self, message: Any) -> None:
        if message["type"] == "http.response.start" and self.channel is not None and self.flow is None:
            self.flow = Flow()
            self.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.flow is not None:
            self.unregisterProducer()
        if self.channel is not None:  # before it goes on: the next request may be there already
            UNFINISHED.begin(self.channel, unfinished.IDLE_WITHIN)
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # Twisted's name
        if self.flow is not None:
            self.flow.stopProducing()
        super().connectionLost(reason)

    def drop(self) -> None:
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def _refuse(self) -> None:
        if self._is_refused:
            return
        self._is_refused = True
        self.requestHeaders.removeHeader(b"Expect")  # or "100 Continue" would follow the answer
        channel: Any = self.channel
        channel.dataReceived = _forget
        channel.transport.write(REFUSAL)
        channel.transport.loseWriteConnection()
        channel.callLater(LINGER, channel.transport.abortConnection)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]  # daphne has no types
    def buildProtocol(self, addr: Any) -> Any:  # Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        channel = protocol._channel
        lost = channel.connectionLost

        def connection_lost(*reason: Any) -> None:
            UNFINISHED.end(channel)
            lost(*reason)

        channel.connectionLost = connection_lost
        UNFINISHED.begin(channel, unfinished.READ_WITHIN)
        return protocol


class Flow:
    """Whether a reader takes what is sent: the transport says when more than 64 kB wait, and when they have gone.

    What Twisted calls a push producer.
    """

    def __init__(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()

    def pauseProducing(self) -> None:  # Twisted's name
        self._flows.clear()

    def resumeProducing(self) -> None:  # Twisted's name
        self._flows.set()

    stopProducing = resumeProducing  # it has gone: nobody waits any more

    async def ready(self) -> None:
        """Returns when more may be sent. Raises TimeoutError after STALL."""
        async with asyncio.timeout(STALL):
            await self._flows.wait()


class BoundedSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    flow: Flow | None = None

    def onOpen(self) -> None:  # autobahn's name
        self.flow = Flow()
        self.transport.unregisterProducer()  # that of HTTP, which ended with the handshake
        self.transport.registerProducer(self.flow, True)
        super().onOpen()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # autobahn's name
        if self.flow is not None:  # else it was never open
            self.flow.stopProducing()
        super().onClose(wasClean, code, reason)

    def drop(self) -> None:
        self.dropConnection(abort=True)


class BoundedSockets(WebSocketFactory):  # type: ignore[misc]  # daphne has no types
    protocol = BoundedSocket


class BoundedServer(server.Server):  # type: ignore[misc]  # daphne has no types
    def run(self) -> None:
        """Daphne names its factories in the middle of `run`, and nowhere else."""
        server.HTTPFactory = BoundedFactory
        server.WebSocketFactory = BoundedSockets
        super().run()

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        """What is sent over a socket, or of an answer that is long, waits for its reader."""
        if message["type"] in ("websocket.send", "http.response.body") and protocol.flow is not None:
            try:
                await protocol.flow.ready()
            except TimeoutError:
                logger.warning("reader dropped", extra={"action": "reader_dropped"})
                protocol.drop()
                return
        await super().handle_reply(protocol, message)


class CommandLine(CommandLineInterface):  # type: ignore[misc]  # daphne has no types
    server_class = BoundedServer


def _take_descriptors() -> None:
    """As many connections as the machine allows: the usual 1,024 are for programs that wait with `select`."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    _take_descriptors()
    sys.setswitchinterval(SWITCH_INTERVAL)
    CommandLine.entrypoint()


if __name__ == "__main__":
    main()
