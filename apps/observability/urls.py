from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from apps.observability import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", views.report, name="health"),
    path("health/ready", views.ready, name="health-ready"),
    path("health/live", views.live, name="health-live"),
    path("metrics", views.metrics, name="metrics"),
    path("admin/queues/", include("apps.observability.dashboard")),
]
