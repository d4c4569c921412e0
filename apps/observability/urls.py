from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from apps.observability import views
from apps.observability.csp_reports import csp_report

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", views.report, name="health"),
    path("health/ready", views.ready, name="health-ready"),
    path("health/live", views.live, name="health-live"),
    path("csp-report", csp_report, name="csp-report"),
    path("metrics", views.metrics, name="metrics"),
    path("admin/queues/", include("apps.observability.dashboard")),
]
