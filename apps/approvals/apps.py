from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApprovalsConfig(AppConfig):
    name = "apps.approvals"
    verbose_name = _("Approvals")

    def import_models(self) -> None:
        super().import_models()
        import_module("apps.approvals.notifications.models")

    def ready(self) -> None:
        from apps.approvals import invariants, receivers  # noqa: F401  (connects them)
        from apps.approvals.notifications import receivers as _receivers  # noqa: F401
