"""Where a request comes from, and plain refusals: of what no page of ours sends, and while the database is away."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import gettext as _
from runtime.database import is_away

from config.rate_limits import is_api

logger = logging.getLogger(__name__)

RETRY_AFTER = "5"  # seconds
# Views that take whatever is no POST for a GET would answer to any other word as well.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

Answer = HttpResponse | Awaitable[HttpResponse]


def true_address(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Behind COUNTERSIGN_TRUSTED_PROXIES proxies REMOTE_ADDR is whom the outermost of them saw, for all who ask."""

    def answer(request: HttpRequest) -> HttpResponse:
        seen = _seen_by_the_outermost_proxy(request.headers.get("X-Forwarded-For", ""))
        if seen:
            request.META["REMOTE_ADDR"] = seen
        return get_response(request)

    return answer


def _seen_by_the_outermost_proxy(forwarded_for: str) -> str:
    """Counted from the right: each proxy adds whom it saw, and what stands further left anybody may have written."""
    count: int = settings.TRUSTED_PROXIES
    seen = [each.strip() for each in forwarded_for.split(",")]
    if not 0 < count <= len(seen):
        return ""
    try:
        return str(ip_address(seen[-count]))
    except ValueError:
        return ""


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """A 400 for what can't be read, a 405 for TRACE and its like; it comes before anything looks at GET or POST."""
    if request.method not in METHODS:
        return _told(request, "There is no such method here.", 405, Allow=", ".join(sorted(METHODS)))
    # Django keeps "%00" as it came until GET is read; PostgreSQL refuses NUL in any text, and so a filter by it.
    if "%00" in request.META.get("QUERY_STRING", ""):
        return _told(request, "The query has a NUL character.", 400)
    if request.encoding and request.encoding.lower() != "utf-8":
        return _told(request, "Only UTF-8 is read here.", 400)
    return None


def _told(request: HttpRequest, text: str, status: int, **headers: str) -> HttpResponse:
    """In the form the asker reads."""
    if is_api(request):
        return JsonResponse({"detail": text}, status=status, headers=headers)
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers)


@sync_and_async_middleware
def refuse_unreadable(get_response: Callable[[HttpRequest], Answer]) -> Callable[[HttpRequest], Answer]:
    if iscoroutinefunction(get_response):

        async def in_loop(request: HttpRequest) -> HttpResponse:
            answer: HttpResponse = _refusal(request) or await get_response(request)
            return answer

        return in_loop

    return lambda request: _refusal(request) or get_response(request)


def say_when_away(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """503 with Retry-After where PostgreSQL can't be reached, has no connection left or takes no writes."""

    def answer(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not is_away(error):
            return None
        logger.error("database away", exc_info=error, extra={"action": "database_away"})
        text = _("The database can't be reached right now. Nothing was changed: try again in a moment.")
        response = _told(request, text, 503)
        response["Retry-After"] = RETRY_AFTER
        return response

    answer.process_exception = process_exception  # type: ignore[attr-defined]
    return answer
