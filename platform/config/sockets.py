"""Which sockets are let in, before any of them knows who is there."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

NOT_FOUND = 4404  # the close code after which a page does not come back
PORTS = {"http": 80, "https": 443}


class NoSuchSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """What is at every path where nothing is. Accepts first: a page can't read why a handshake was refused."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(NOT_FOUND)


class SameOrigin:
    """Lets in sockets of our own pages: a browser sends the cookie along from any page of the same host.

    Channels' own validator compares the host's name only, so that a page on another port of it would get in.
    A program that brings a key or a token of the API is no page: none can add a header to a socket. It is let in
    without an origin, to where keys are asked for, and without the session.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        is_ours = is_our_origin(headers.get(b"origin", ""), headers.get(b"host", ""))
        if not is_ours and b"origin" not in headers and brings_a_credential(headers):
            bare = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
            return await self._application({**scope, "headers": bare}, receive, send)
        return await (self._application if is_ours else WebsocketDenier())(scope, receive, send)


def brings_a_credential(headers: dict[bytes, str]) -> bool:
    """Whether the door of the API would look at a header. What it thinks of that is its own."""
    scheme, _, text = headers.get(b"authorization", "").strip().partition(" ")
    return bool(headers.get(b"x-api-key", "").strip()) or (scheme.lower() == "bearer" and bool(text.strip()))


def is_our_origin(origin: str, host: str) -> bool:
    """Whether `origin` is the page that `host`, the request's own, serves, or one that the settings trust."""
    page = _split(origin)
    if page is None:
        return False
    if origin.lower() in (trusted.lower() for trusted in settings.CSRF_TRUSTED_ORIGINS):
        return True
    domain, _port = split_domain_port(host)
    return validate_host(domain, _allowed_hosts()) and _address(page) == _address(
        _split(f"{page.scheme}://{host}")
    )


def _allowed_hosts() -> list[str]:
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]
    return list(settings.ALLOWED_HOSTS)


def _split(origin: str) -> SplitResult | None:
    """None for what is no origin of a page: "null", "", a malformed one."""
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018  # raises for what is no port
    except ValueError:
        return None
    return parts if parts.scheme in _schemes() and parts.hostname else None


def _schemes() -> tuple[str, ...]:
    """Behind a proxy that speaks TLS the pages are https, whatever this process is spoken to in."""
    return ("https",) if settings.HTTPS else ("http", "https")


def _address(parts: SplitResult | None) -> tuple[str | None, int] | None:
    return parts and (parts.hostname, parts.port or PORTS[parts.scheme])
