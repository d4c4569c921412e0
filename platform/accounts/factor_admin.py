"""Taking away somebody's factor in the admin, when the phone and the recovery codes are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect

from accounts import factors
from accounts.models import User

if TYPE_CHECKING:
    UserAdmin = admin.ModelAdmin[User]
else:
    UserAdmin = object


class FactorReset(UserAdmin):
    """For superusers: with a new password it makes somebody else of whoever does it."""

    change_form_template = "admin/accounts/user/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.reset_factor_view)
        return [
            path("<int:user_id>/factor/reset/", view, name="accounts_user_reset_factor"),
            *super().get_urls(),
        ]

    @method_decorator(csrf_protect)
    def reset_factor_view(self, request: HttpRequest, user_id: int) -> HttpResponse:
        if not getattr(request.user, "is_superuser", False):
            raise PermissionDenied
        person = get_object_or_404(User, pk=user_id)
        if request.method != "POST":
            return self._confirm(request, person)
        if factors.remove(person, "reset"):
            text = _(
                "%(name)s signs in by password alone until a new app is set up. All their sessions ended."
            )
            messages.success(request, text % {"name": person})
        return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[person.pk]))

    def _confirm(self, request: HttpRequest, person: User) -> HttpResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": person,
            "person": person,
            "title": _("Reset the second factor?"),
        }
        return TemplateResponse(request, "admin/accounts/user/reset_factor.html", context)
