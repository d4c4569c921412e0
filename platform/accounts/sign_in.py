"""The pages of the door: a password, and where the account needs it a code."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import door
from accounts.exceptions import Refusal
from accounts.factor_forms import CodeForm
from accounts.forms import AdminSignInForm, SignInForm
from accounts.models import User


class SignInView(LoginView):
    authentication_form: type[AuthenticationForm] = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        user: User = form.get_user()
        to = self.get_success_url()
        is_in = door.enter(self.request, user, user.backend, to)
        return HttpResponseRedirect(to) if is_in else to_second_half(user)


class AdminSignInView(SignInView):
    """Who is signed in and no staff may sign in as somebody else here."""

    authentication_form = AdminSignInForm
    template_name = "admin/login.html"
    redirect_authenticated_user = False


class Site(AdminSite):
    """Django's admin, with the one door."""

    login_form = AdminSignInForm

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET" and self.has_permission(request):
            return redirect("admin:index")
        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        if "next" not in request.GET and "next" not in request.POST:
            context["next"] = self.index_path
        request.current_app = self.name
        return cast(HttpResponse, AdminSignInView.as_view(extra_context=context)(request))

    @property
    def index_path(self) -> str:
        return reverse("admin:index", current_app=self.name)


def to_second_half(user: User) -> HttpResponse:
    return redirect("login-code" if user.factor_id else "factor-set-up")


@sensitive_post_parameters("code")
@never_cache
@require_http_methods(["GET", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """The second half."""
    half = door.half_signed_in(request)
    if half is None:
        return redirect("login")
    if half.user.factor_id is None:
        return to_second_half(half.user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            door.check_code(request, half.user, form.cleaned_data["code"])
        except Refusal as refusal:
            form.add_error("code", str(refusal))
        else:
            door.finish(request, half)
            return HttpResponseRedirect(half.next)
    context = {"form": form, "name": half.user.get_username()}
    return render(request, "registration/code.html", context, status=422 if form.errors else 200)
