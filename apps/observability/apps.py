from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ObservabilityConfig(AppConfig):
    name = "apps.observability"
    verbose_name = _("Observability")

    def ready(self) -> None:
        from apps.observability import receivers  # noqa: F401  (connects them)
