"""What an account that is locked answers: a page to a browser, JSON to a program."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from config.rate_limits import is_api, with_headers


def answer(request: HttpRequest, response: HttpResponse | None, credentials: Any = None) -> HttpResponse:
    """django-axes calls it in place of the sign-in's own answer."""
    headers = {"Retry-After": str(round(settings.AXES_COOLOFF_TIME * 3600))}
    if not is_api(request):
        return with_headers(render(request, "registration/lockout.html", status=429), headers)
    text = _("This account was locked for a while after too many wrong passwords. Try again later.")
    return JsonResponse({"detail": text}, status=429, headers=headers)
