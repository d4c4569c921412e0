"""A mail server that keeps what it is given: enough of RFC 5321 for Django's SMTP backend."""

from __future__ import annotations

import socketserver
import threading
from contextlib import suppress
from types import TracebackType


class MailServer:
    """`with MailServer() as server:` listens on `server.port`; `server.messages` is what came, as text.

    `refuses`: the line it answers to every recipient.
    """

    def __init__(self, *, refuses: str = "") -> None:
        self.messages: list[str] = []
        messages = self.messages

        class Session(socketserver.StreamRequestHandler):
            timeout = 30  # seconds of silence

            def handle(self) -> None:
                with suppress(ConnectionError, TimeoutError):
                    self.converse()

            def converse(self) -> None:
                self.say("220 test")
                while line := self.rfile.readline():
                    verb = line.decode().split(":")[0].strip().upper()
                    if verb == "DATA":
                        self.say("354 go on")
                        messages.append(self.content())
                    elif verb == "RCPT TO" and refuses:
                        self.say(refuses)
                        continue
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    self.say("250 fine")

            def content(self) -> str:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    if not line:  # hung up in the middle: it would be read for ever
                        raise ConnectionResetError
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                return b"".join(lines).decode()

            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> MailServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
