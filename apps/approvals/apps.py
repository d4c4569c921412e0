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
        from runtime import audit

        from apps.approvals import invariants, models, receivers  # noqa: F401  (connects them)
        from apps.approvals.notifications import receivers as _receivers  # noqa: F401
        from apps.approvals.notifications.models import GroupPreference, Preference, WebhookEndpoint

        followed = (
            models.PolicyRule,
            models.Condition,
            models.EditBound,
            models.Vote,
            models.Delegation,
            models.GrantUse,
        )
        for model in followed:
            audit.follow(model)
        audit.follow(models.Comment, hidden={"text"})
        audit.follow(models.Grant, hidden={"pattern"})
        for wish in (Preference, GroupPreference):
            audit.follow(wish)
        audit.follow(WebhookEndpoint, hidden={"url", "sealed_secret"})
