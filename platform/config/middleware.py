"""Refuses what no page of ours sends and what would fail deep inside: a query with NUL, text that is not UTF-8."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.utils.decorators import sync_and_async_middleware

Answer = HttpResponse | Awaitable[HttpResponse]


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """A 400 for what can't be read; it comes before anything looks at GET or POST."""
    # Django keeps "%00" as it came until GET is read; PostgreSQL refuses NUL in any text, and so a filter by it.
    if "%00" in request.META.get("QUERY_STRING", ""):
        return _bad("The query has a NUL character.")
    if request.encoding and request.encoding.lower() != "utf-8":
        return _bad("Only UTF-8 is read here.")
    return None


def _bad(why: str) -> HttpResponse:
    return HttpResponseBadRequest(f"{why}\n", content_type="text/plain; charset=utf-8")


@sync_and_async_middleware
def refuse_unreadable(get_response: Callable[[HttpRequest], Answer]) -> Callable[[HttpRequest], Answer]:
    if iscoroutinefunction(get_response):

        async def in_loop(request: HttpRequest) -> HttpResponse:
            answer: HttpResponse = _refusal(request) or await get_response(request)
            return answer

        return in_loop

    return lambda request: _refusal(request) or get_response(request)
