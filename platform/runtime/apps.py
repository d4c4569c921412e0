from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RuntimeConfig(AppConfig):
    name = "runtime"
    verbose_name = _("Runtime")

    def ready(self) -> None:
        from runtime import receivers  # noqa: F401  (connects them)
        from runtime.audit import invariants  # noqa: F401
        from runtime.audit.receivers import follow_money, follow_people, follow_what_is_run

        follow_people()
        follow_what_is_run()
        follow_money()
