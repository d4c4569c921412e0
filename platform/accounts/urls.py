from __future__ import annotations

from django.contrib.auth import views
from django.urls import URLPattern, path

from accounts import factor_views, key_views, oidc_views, sign_in

urlpatterns: list[URLPattern] = [
    path("login/", sign_in.SignInView.as_view(), name="login"),
    path("login/code/", sign_in.code, name="login-code"),
    path("oidc/", oidc_views.start, name="oidc"),
    path("oidc/callback/", oidc_views.callback, name="oidc-callback"),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordChangeView.as_view(), name="password_change"),
    path("password/done/", views.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("factor/", factor_views.index, name="factor"),
    path("factor/set-up/", factor_views.set_up, name="factor-set-up"),
    path("factor/codes/", factor_views.renew_codes, name="factor-renew"),
    path("factor/remove/", factor_views.remove, name="factor-remove"),
    path("keys/", key_views.index, name="keys"),
    path("keys/<int:key_id>/rotate/", key_views.rotate, name="key-rotate"),
    path("keys/<int:key_id>/revoke/", key_views.revoke, name="key-revoke"),
]
