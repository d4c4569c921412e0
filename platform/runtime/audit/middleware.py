"""Every audit event of a web request names its person, address and request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from runtime.audit.record import acting


@sync_and_async_middleware
def audit_origin(
    get_response: Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]]:
    if iscoroutinefunction(get_response):

        async def in_loop(request: HttpRequest) -> HttpResponse:
            with acting(request):
                response: HttpResponse = await get_response(request)
            return response

        return in_loop

    def in_thread(request: HttpRequest) -> HttpResponse:
        with acting(request):
            response: HttpResponse = get_response(request)  # type: ignore[assignment]
        return response

    return in_thread
