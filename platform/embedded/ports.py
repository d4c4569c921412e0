"""TCP ports: whether one is free, and who has it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from embedded.exceptions import EmbeddedError

LISTENING = "0A"  # the state's code in /proc/net/tcp


def check_free(host: str, port: int) -> None:
    """EmbeddedError when `port` can't be listened on, naming the process that has it where /proc tells."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise EmbeddedError(f"HOST={host} is no address of this machine. Correct it or unset it.") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise EmbeddedError(f"Port {port} is reserved for root. Try: make run PORT=8000") from error
        except OSError as error:
            raise EmbeddedError(_refusal(host, port, error)) from error


def _refusal(host: str, port: int, error: OSError) -> str:
    owner = next(_owners(port), None)
    if owner is None and error.errno != errno.EADDRINUSE:
        return f"HOST={host} can't be listened on: {error.strerror}. Correct it or unset it."
    return f"Port {port} is used by {owner or 'another program'}. Try: make run PORT={port + 1}"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _owners(port: int) -> Iterator[str]:
    """`name (pid 1)` of each process that listens on `port`, as far as this user may see."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted & {os.readlink(entry) for entry in (folder / "fd").iterdir()}:
                yield f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    yield fields[9]
