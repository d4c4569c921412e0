"""One POST, bounded in everything: where it goes, how long it takes, how much it reads."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextvars import copy_context
from functools import cache, partial
from typing import Any, TypeVar

import httpcore
from django.utils.translation import gettext as _

from runtime.webhooks import addresses
from runtime.webhooks.addresses import Inside

TIME_LIMIT = 10.0  # seconds, all of it: connecting, sending, the answer
ANSWER_LIMIT = 64 * 1024  # bytes that are read of an answer


Headers = dict[str, str]
T = TypeVar("T")


class Unsuccessful(Exception):
    """It was not delivered. `is_final`: trying again would change nothing."""

    def __init__(self, text: str, *, status: int | None = None, is_final: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.is_final = is_final


def post(url: str, body: bytes, headers: Headers, inside: Inside = Inside.NOTIFICATIONS) -> tuple[int, bytes]:
    """The status, always 2xx, and the beginning of the answer. Raises Unsuccessful, for a redirect too."""
    network = GuardedNetwork(time.monotonic() + TIME_LIMIT, inside)
    try:
        addresses.check_url(url, inside)
        with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=network) as pool:
            return _post(pool, url, body, headers)
    except addresses.Refused as refused:
        raise Unsuccessful(str(refused), is_final=True) from refused
    except httpcore.TimeoutException as error:
        raise Unsuccessful(_("No answer within %(seconds)d seconds.") % {"seconds": TIME_LIMIT}) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Unsuccessful(_("It could not be reached: %(why)s") % {"why": error}) from error


def _post(pool: httpcore.ConnectionPool, url: str, body: bytes, headers: Headers) -> tuple[int, bytes]:
    fixed = {
        "User-Agent": "Countersign",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        **headers,
    }
    bounds = dict.fromkeys(("connect", "read", "write", "pool"), TIME_LIMIT)
    with pool.stream(
        "POST", url, headers=list(fixed.items()), content=body, extensions={"timeout": bounds}
    ) as answer:
        if answer.status // 100 == 3:
            raise Unsuccessful(_("It redirects elsewhere, which is not followed."), status=answer.status)
        if answer.status // 100 != 2:
            raise Unsuccessful(
                _("It answered with the status %(status)s.") % {"status": answer.status}, status=answer.status
            )
        return answer.status, _beginning(answer)


def _beginning(answer: httpcore.Response) -> bytes:
    """What comes beyond the limit is not read; the connection is closed on it."""
    read = b""
    for chunk in answer.iter_stream():
        read += chunk
        if len(read) >= ANSWER_LIMIT:
            break
    return read[:ANSWER_LIMIT]


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class GuardedNetwork(httpcore.NetworkBackend):
    """Connects only to addresses that were looked at, and lets nothing outlast the deadline."""

    def __init__(self, deadline: float, inside: Inside) -> None:
        self._deadline = deadline
        self._inside = inside
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = OSError(host)
        found = _in_time(partial(addresses.resolve, host, port, self._inside), self._deadline)
        for address in found:
            try:
                stream = self._inner.connect_tcp(address, port, _left(self._deadline), local_address)
                return BoundedStream(stream, self._deadline)
            except httpcore.ConnectError as error:
                failed = error
        raise failed

    def connect_unix_socket(self, *_args: Any, **_options: Any) -> httpcore.NetworkStream:
        raise addresses.Refused("unix")


class BoundedStream(httpcore.NetworkStream):
    """A server that sends one byte now and then would keep each single read within its own limit."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return BoundedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _in_time(work: Callable[[], T], deadline: float) -> T:
    """On a thread of its own, as the system's resolver takes no limit. One that hangs is left behind."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="resolve", daemon=True).start()
    try:
        return future.result(_left(deadline))
    except TimeoutError as error:
        raise httpcore.ConnectTimeout from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left
