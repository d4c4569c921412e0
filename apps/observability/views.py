"""What load balancers, scrapers and people ask about the state of things."""

from __future__ import annotations

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from apps.observability import health
from apps.observability.access import for_scrapers
from apps.observability.health import Finding
from apps.observability.metrics import exposition


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """The process answers. No I/O: a database that is down is no reason to restart it."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """May this process be sent requests? Only the database and its migrations can say no."""
    parts = health.readiness()
    return _answer(request, parts, status=503 if health.overall(parts) == "failed" else 200)


@require_safe
@never_cache
def report(request: HttpRequest) -> JsonResponse:
    """Everything in detail; 200 only when all of it is ok."""
    parts = health.report()
    return _answer(request, parts, status=200 if health.overall(parts) == "ok" else 503)


def _answer(request: HttpRequest, parts: dict[str, Finding], *, status: int) -> JsonResponse:
    return JsonResponse(health.as_json(parts, with_details=_is_staff(request, parts)), status=status)


def _is_staff(request: HttpRequest, parts: dict[str, Finding]) -> bool:
    """Whether details may be shown. Not by address: behind a proxy everybody comes from the loopback."""
    if parts["database"].status != "ok":
        return False  # the session is in there
    try:
        return request.user.is_active and request.user.is_staff
    except DatabaseError:
        return False


@require_safe
@never_cache
@for_scrapers
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
