"""Everybody's keys in the admin: revoked by who may change keys, made and replaced by superusers.

Who holds a key acts for its owner: a key for somebody else is a power, and powers are superusers' to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect

from accounts import keys
from accounts.exceptions import Refusal
from accounts.key_forms import KeyForm, KeyForSomebodyForm, RotateForm
from accounts.models import ApiKey

if TYPE_CHECKING:
    KeyAdmin = admin.ModelAdmin[ApiKey]
else:
    KeyAdmin = admin.ModelAdmin

TEMPLATES = "admin/accounts/apikey"


@admin.register(ApiKey)
class ApiKeyAdmin(KeyAdmin):
    list_display = ("shown", "owner", "name", "may", "state", "last_used_at", "expires_at")
    list_select_related = ("owner",)
    list_filter = ("created_at", "expires_at")
    search_fields = ("prefix", "name", "owner__username")
    search_help_text = gettext_lazy("Beginning of the key, its name, or its owner")
    autocomplete_fields = ("owner",)
    fields = (
        "shown",
        "owner",
        "name",
        "may",
        "state",
        "created_at",
        "expires_at",
        "last_used_at",
        "replaced_at",
        "revoked_at",
    )
    add_fields = ("owner", "name", "scopes", "lifetime")
    change_form_template = f"{TEMPLATES}/change_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fields if obj else self.add_fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fields if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(
            request, obj, change, **({} if change else {"form": KeyForSomebodyForm}), **kwargs
        )

    @admin.display(description=gettext_lazy("key"), ordering="prefix")
    def shown(self, key: ApiKey) -> str:
        return str(key)

    @admin.display(description=gettext_lazy("scopes"))
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=gettext_lazy("state"))
    def state(self, key: ApiKey) -> str:
        return key.status_name

    # Making one

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Never by `save()`: the one door is accounts.keys. What is there is not changed on this page."""
        if change or not isinstance(form, KeyForm):
            return
        key, secret = keys.create_key(obj.owner, obj.name, form.chosen_scopes, form.chosen_lifetime)
        obj.pk = key.pk
        obj.refresh_from_db()
        request.META["NEW_API_KEY"] = secret  # for response_add, of this request alone

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._shown_once(request, obj, request.META.pop("NEW_API_KEY"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except Refusal as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(request.get_full_path())

    # Ending and replacing one

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path("<int:key_id>/revoke/", wrap(self.revoke_view), name="accounts_apikey_revoke"),
            path("<int:key_id>/rotate/", wrap(self.rotate_view), name="accounts_apikey_rotate"),
        ]
        return [*ours, *super().get_urls()]

    @method_decorator(csrf_protect)
    def revoke_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        key = get_object_or_404(ApiKey, pk=key_id)
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        if request.method != "POST":
            return self._page(request, "revoke", key, title=_("Revoke this key?"))
        try:
            keys.revoke_key(key)
        except Refusal as refusal:
            return self._back(request, key, refusal)
        messages.success(request, _("The key “%(name)s” was revoked.") % {"name": key.name})
        return self._back(request, key)

    @method_decorator(csrf_protect)
    def rotate_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        key = get_object_or_404(ApiKey, pk=key_id)
        if not _is_superuser(request):
            raise PermissionDenied
        form = RotateForm(request.POST or None)
        if not form.is_valid():
            return self._page(request, "rotate", key, title=_("Replace this key?"), form=form)
        try:
            return self._shown_once(request, *keys.rotate_key(key, form.chosen_grace))
        except Refusal as refusal:
            return self._back(request, key, refusal)

    def _shown_once(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        return self._page(request, "created", key, title=_("Your new key"), secret=secret)

    def _page(self, request: HttpRequest, name: str, key: ApiKey, **more: Any) -> HttpResponse:
        site = self.admin_site.each_context(request)
        context = {**site, "opts": self.opts, "original": key, "key": key, **more}
        response = TemplateResponse(request, f"{TEMPLATES}/{name}.html", context)
        add_never_cache_headers(response)
        return response

    def _back(self, request: HttpRequest, key: ApiKey, refusal: Refusal | None = None) -> HttpResponse:
        if refusal is not None:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:accounts_apikey_change", args=[key.pk]))


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and bool(getattr(request.user, "is_superuser", False))
