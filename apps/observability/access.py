"""Who may look. Each guard also holds for POST, whatever the view behind it thinks of staff."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

USE_QUEUES = "runtime.use_queue_dashboard"
VIEW_METRICS = "runtime.view_metrics"
EXPORT_TOOL_CALLS = "runtime.export_toolcall"
EXPORT_AUDIT = "runtime.export_auditevent"

View = Callable[..., HttpResponseBase]


def for_queue_operators(view: View) -> View:
    """Lets only staff with the permission in. django-rq itself lets any staff user empty a queue."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        if not may_use_queues(request):
            raise PermissionDenied(_("The permission to use the queue dashboard is missing."))
        return _or_not_found(view, request, *args, **kwargs)

    return guarded


def _or_not_found(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """django-rq takes the queue, worker or job that a URL names for granted, and fails in these ways without."""
    try:
        return view(request, *args, **kwargs)
    except (AssertionError, IndexError, ValueError) as error:
        raise Http404(str(error)) from error


def may_use_queues(request: HttpRequest) -> bool:
    user = request.user
    return bool(user.is_active and user.is_staff and user.has_perm(USE_QUEUES))


def for_scrapers(view: View) -> View:
    """Lets the scraper's token in, and people with the permission."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if _has_token(request):
            return view(request, *args, **kwargs)
        if "Authorization" in request.headers or not request.user.is_authenticated:
            refused = HttpResponse("A valid bearer token is needed.\n", status=401, content_type="text/plain")
            refused["WWW-Authenticate"] = "Bearer"
            return refused
        if not request.user.has_perm(VIEW_METRICS):
            raise PermissionDenied(_("The permission to read the metrics is missing."))
        return view(request, *args, **kwargs)

    return guarded


def _has_token(request: HttpRequest) -> bool:
    wanted = str(settings.METRICS_TOKEN)
    scheme, _space, given = request.headers.get("Authorization", "").partition(" ")
    # Without a configured token nothing matches, the empty one least of all.
    return bool(wanted) and scheme.lower() == "bearer" and constant_time_compare(given.strip(), wanted)
