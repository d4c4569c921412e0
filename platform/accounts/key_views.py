"""One's own keys. A secret is in the one answer that made it, and in no cache, session or message."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import keys
from accounts.exceptions import Refusal
from accounts.key_forms import KeyForm, RotateForm
from accounts.models import ApiKey, User


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """The list, and a form for a new one."""
    owner = cast(User, request.user)
    form = KeyForm(request.POST or None, owner=owner)
    if request.method == "GET" or not form.is_valid():
        return _list(request, form)
    try:
        made = keys.create_key(owner, form.cleaned_data["name"], form.chosen_scopes, form.chosen_lifetime)
    except Refusal as refusal:
        form.add_error(None, str(refusal))
        return _list(request, form)
    return _shown_once(request, made)


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def rotate(request: HttpRequest, key_id: int) -> HttpResponse:
    key = _own_key(request, key_id)
    form = RotateForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        return _confirm(request, "accounts/key_rotate.html", key, form=form)
    try:
        return _shown_once(request, keys.rotate_key(key, form.chosen_grace))
    except Refusal as refusal:
        return _back(request, refusal)


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    key = _own_key(request, key_id)
    if request.method == "GET":
        return _confirm(request, "accounts/key_revoke.html", key)
    try:
        keys.revoke_key(key)
    except Refusal as refusal:
        return _back(request, refusal)
    messages.success(request, _("The key “%(name)s” was revoked.") % {"name": key.name})
    return redirect("keys")


def _own_key(request: HttpRequest, key_id: int) -> ApiKey:
    """404 for another's: that it is, is nobody's business."""
    return get_object_or_404(ApiKey, pk=key_id, owner=cast(User, request.user))


def _list(request: HttpRequest, form: KeyForm) -> HttpResponse:
    found = sorted(ApiKey.objects.filter(owner=cast(User, request.user)), key=lambda key: key.has_ended)
    context = {"keys": found, "form": form, "has_scopes": bool(form.fields["scopes"].choices)}  # type: ignore[attr-defined]
    return render(request, "accounts/keys.html", context, status=422 if form.errors else 200)


def _confirm(request: HttpRequest, template: str, key: ApiKey, **more: Any) -> HttpResponse:
    status = 422 if more.get("form") and more["form"].errors else 200
    return render(request, template, {"key": key, **more}, status=status)


def _shown_once(request: HttpRequest, made: tuple[ApiKey, str]) -> HttpResponse:
    key, secret = made
    return render(request, "accounts/key_created.html", {"key": key, "secret": secret}, status=201)


def _back(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    messages.error(request, str(refusal))
    return redirect("keys")
