"""Django's half of the ASGI application."""

from __future__ import annotations

from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponseBase


class Handler(ASGIHandler):
    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """An answer that says it comes late is waited for here, on the event loop.

        An asynchronous view would not do: behind middleware that is not, each holds a thread for as long as it takes.
        """
        settle = getattr(response, "settle", None)
        if settle is not None:
            await settle()
        await super().send_response(response, send)


def application() -> Handler:
    django.setup(set_prefix=False)
    return Handler()
