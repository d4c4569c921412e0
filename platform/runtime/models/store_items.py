"""What programs and graphs keep for a person beyond one thread."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class StoreItem(models.Model):
    """One item of a person's store. Nobody else's programs, and no run of somebody else, finds it."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("owner")
    )
    namespace: ArrayField[list[str], list[str]] = ArrayField(
        models.CharField(max_length=100), verbose_name=_("namespace")
    )
    key = models.CharField(_("key"), max_length=255)
    value: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(_("value"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        verbose_name = _("item of a store")
        verbose_name_plural = _("items of stores")
        constraints: ClassVar = [
            # Begins with what every look-up names: it is their index too.
            models.UniqueConstraint(fields=["owner", "namespace", "key"], name="store_item_once")
        ]

    def __str__(self) -> str:
        return f"{'.'.join(self.namespace)}: {self.key}"
