"""To the provider of single sign-on, and back."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import door, oidc
from accounts.exceptions import Refusal
from accounts.people import person_of
from accounts.sign_in import to_second_half

BACKEND = "django.contrib.auth.backends.ModelBackend"  # whose sessions all are
_NEXT = "oidc_next"


@never_cache
@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """A link, no form: our policy for forms would not let one lead to another host."""
    _only_if_configured()
    try:
        answer = oidc.leave_for_provider(request, request.build_absolute_uri(reverse("oidc-callback")))
    except Refusal as refusal:
        return _failed(request, refusal)
    request.session[_NEXT] = _address_of_ours(request, request.GET.get("next", ""))
    return answer


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    _only_if_configured()
    try:
        user = person_of(oidc.claims_of(request))
    except Refusal as refusal:
        return _failed(request, refusal)
    to = _address_of_ours(request, request.session.pop(_NEXT, ""))
    is_in = door.enter(request, user, BACKEND, to, is_enough=settings.OIDC_REPLACES_TOTP)
    return HttpResponseRedirect(to) if is_in else to_second_half(user)


def _only_if_configured() -> None:
    if not settings.OIDC_ISSUER:
        raise Http404


def _address_of_ours(request: HttpRequest, to: str) -> str:
    hosts, is_secure = {request.get_host()}, request.is_secure()
    if url_has_allowed_host_and_scheme(to, allowed_hosts=hosts, require_https=is_secure):
        return to
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _failed(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    context = {"why": str(refusal)}
    return render(request, "registration/oidc_failed.html", context, status=refusal.status)
