from __future__ import annotations

from django.contrib.auth import views
from django.urls import URLPattern, path

from accounts import key_views
from accounts.forms import SignInForm

urlpatterns: list[URLPattern] = [
    path(
        "login/",
        views.LoginView.as_view(authentication_form=SignInForm, redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordChangeView.as_view(), name="password_change"),
    path("password/done/", views.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("keys/", key_views.index, name="keys"),
    path("keys/<int:key_id>/rotate/", key_views.rotate, name="key-rotate"),
    path("keys/<int:key_id>/revoke/", key_views.revoke, name="key-revoke"),
]
