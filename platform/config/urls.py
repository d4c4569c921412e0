from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from config.api import api

urlpatterns = [
    path("", include("apps.observability.urls")),  # before the admin, whose last URL takes all that is left
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("api/v1/", api.urls),
    path("api/langgraph/", include("apps.chat.langgraph.urls")),
    path("", include("apps.chat.urls")),
]

handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"
