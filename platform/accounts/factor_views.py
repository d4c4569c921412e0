"""One's own second factor. Secrets and recovery codes are in the one answer that made them, and in no cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import door, factors
from accounts.backends import may_use_password
from accounts.exceptions import Refusal
from accounts.factor_forms import CodeForm, SetUpForm
from accounts.models import User

View = Callable[[HttpRequest], HttpResponse]

_SECRET = "factor_secret"  # noqa: S105  (where a session keeps it, sealed, until it is proven)


def _offered(view: View) -> View:
    """Nothing is there while COUNTERSIGN_STAFF_TOTP is off."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if settings.STAFF_TOTP == "off":
            raise Http404
        return view(request)

    return sensitive_post_parameters("code", "password")(never_cache(checked))


@_offered
@require_http_methods(["GET"])
@login_required
def index(request: HttpRequest) -> HttpResponse:
    user = cast(User, request.user)
    return render(request, "accounts/factor.html", {"factor": user.factor, "left": factors.codes_left(user)})


@_offered
@require_http_methods(["GET", "POST"])
def set_up(request: HttpRequest) -> HttpResponse:
    """For who is signed in, and for who has to have one before they are."""
    half = door.half_signed_in(request)
    user = half.user if half else request.user
    if not isinstance(user, User):
        return redirect_to_login(request.get_full_path())
    if user.factor_id is not None:
        return redirect("login-code" if half else "factor")
    asks_password = half is None and user.has_usable_password() and may_use_password(user)
    form = SetUpForm(request.POST or None, request=request, user=user, asks_password=asks_password)
    if request.method == "POST" and form.is_valid():
        try:
            codes = factors.set_up(user, _secret(request), form.cleaned_data["code"])
        except Refusal as refusal:
            form.add_error("code", str(refusal))
        else:
            return _has_one_now(request, user, half, codes)
    return _picture(request, user, form)


def _has_one_now(request: HttpRequest, user: User, half: door.Half | None, codes: list[str]) -> HttpResponse:
    del request.session[_SECRET]
    if half:
        door.finish(request, half)
    else:
        update_session_auth_hash(request, user)  # this session goes on, all others end
    return _shown_once(request, codes, half.next if half else resolve_url("factor"))


def _picture(request: HttpRequest, user: User, form: SetUpForm) -> HttpResponse:
    secret = _secret(request)
    context = {
        "form": form,
        "picture": factors.picture_of(user, secret),
        "secret": " ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        "is_required": user.must_have_factor,
    }
    return render(request, "accounts/factor_set_up.html", context, status=422 if form.errors else 200)


def _secret(request: HttpRequest) -> str:
    """The same until it is proven: who reloads the page has scanned it already."""
    secret = factors.opened(request.session.get(_SECRET, ""))
    if not secret:
        secret = factors.new_secret()
        request.session[_SECRET] = factors.sealed(secret)
    return secret


@_offered
@require_http_methods(["GET", "POST"])
@login_required
def renew_codes(request: HttpRequest) -> HttpResponse:
    def renew(user: User) -> HttpResponse:
        return _shown_once(request, factors.renew_codes(user), resolve_url("factor"))

    return _with_code(request, "accounts/factor_renew.html", renew)


@_offered
@require_http_methods(["GET", "POST"])
@login_required
def remove(request: HttpRequest) -> HttpResponse:
    """Where it may be done without."""
    if cast(User, request.user).must_have_factor:
        messages.error(request, _("Your account may not be without an authenticator app."))
        return redirect("factor")

    def take_away(user: User) -> HttpResponse:
        factors.remove(user)
        update_session_auth_hash(request, user)
        messages.success(request, _("From now on your password alone signs you in."))
        return redirect("factor")

    return _with_code(request, "accounts/factor_remove.html", take_away)


def _with_code(request: HttpRequest, template: str, act: Callable[[User], HttpResponse]) -> HttpResponse:
    """Once a code was given: an open screen is no way to take the factor away."""
    user = cast(User, request.user)
    if user.factor_id is None:
        return redirect("factor")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            door.check_code(request, user, form.cleaned_data["code"])
            return act(user)
        except Refusal as refusal:
            form.add_error("code", str(refusal))
    return render(request, template, {"form": form}, status=422 if form.errors else 200)


def _shown_once(request: HttpRequest, codes: list[str], to: str) -> HttpResponse:
    return render(request, "accounts/factor_codes.html", {"codes": codes, "next": to}, status=201)
