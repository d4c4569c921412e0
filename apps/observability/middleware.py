"""Gives every request an id: in its log lines, in its answer, and on error pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from apps.observability.logs import log_context

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")  # an id a proxy may have chosen


def _begin(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    request_id = given if _GIVEN.fullmatch(given) else uuid.uuid4().hex
    log_context.set({"request_id": request_id})
    request.META["REQUEST_ID"] = request_id  # for the audit; what a client sends is named HTTP_ something
    return request_id


@sync_and_async_middleware
def request_context(
    get_response: Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]]:
    if iscoroutinefunction(get_response):

        async def in_loop(request: HttpRequest) -> HttpResponse:
            request_id = _begin(request)
            response: HttpResponse = await get_response(request)
            response[HEADER] = request_id
            return response

        return in_loop

    def in_thread(request: HttpRequest) -> HttpResponse:
        request_id = _begin(request)
        response: HttpResponse = get_response(request)  # type: ignore[assignment]
        response[HEADER] = request_id
        return response

    return in_thread
