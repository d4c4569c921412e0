from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApprovalsConfig(AppConfig):
    name = "apps.approvals"
    verbose_name = _("Approvals")

    def ready(self) -> None:
        from runtime import audit

        from apps.approvals import invariants, receivers  # noqa: F401  (connects them)
        from apps.approvals.models import PolicyRule

        audit.follow(PolicyRule)
