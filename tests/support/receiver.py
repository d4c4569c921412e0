"""Another system's end of a webhook: a real HTTP server that answers well, badly, slowly or far too much."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

MEGABYTE = b"x" * 1024 * 1024


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`with Receiver() as receiver: receiver.url`. What it does next is in `behaviour`:

    "fine", "status 503", "redirect <url>", "hang", "drip" (a header byte now and then), "10 MB", "answer <text>".
    """

    def __init__(self, behaviour: str = "fine") -> None:
        self.behaviour = behaviour
        self.received: list[Received] = []
        self.sent = 0
        """Bytes of "10 MB" the other side took."""
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30  # seconds of silence

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.received.append(Received(self.path, dict(self.headers), body))
                word, _, rest = receiver.behaviour.partition(" ")
                try:
                    receiver._answer(self, word, rest)
                except OSError:  # the client has had enough
                    self.close_connection = True

            def do_GET(self) -> None:
                receiver.received.append(Received(self.path, dict(self.headers), b""))
                self.send_error(405)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _answer(self, handler: BaseHTTPRequestHandler, word: str, rest: str) -> None:
        if word == "hang":
            self._over.wait(30)
            return
        if word == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.1)  # slow on purpose: the client's limit has to end it
            return
        if word == "10":
            handler.send_response(200)
            handler.send_header("Content-Length", str(10 * len(MEGABYTE)))
            handler.end_headers()
            for _ in range(10):
                handler.wfile.write(MEGABYTE)
                self.sent += len(MEGABYTE)
                time.sleep(0.05)
            return
        content = (rest if word == "answer" else "ok").encode()
        status = int(rest) if word == "status" else 302 if word == "redirect" else 200
        handler.send_response(status)
        if word == "redirect":
            handler.send_header("Location", rest)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
