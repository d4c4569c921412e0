"""The rows of the chain."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _


def _part(path: str, label: Any) -> Any:
    """A column read off the body by PostgreSQL: what is filtered by can't differ from what was hashed."""
    read = Func(F("body"), template=f"((%(expressions)s)::jsonb #>> '{{{path}}}')")
    return models.GeneratedField(
        expression=read, output_field=models.TextField(), db_persist=True, verbose_name=label
    )


class AuditEvent(models.Model):
    """One thing that was done. Written by `runtime.audit.append`, sealed at the commit, changed by nobody."""

    id = models.BigAutoField(primary_key=True)
    """The order in which its transaction wrote it; gaps mean nothing."""
    seq = models.BigIntegerField(_("number"), null=True, unique=True, editable=False)
    """Its place in the chain, without a gap. Null until its transaction commits, so nobody else ever sees that."""
    at = models.DateTimeField(_("time"), null=True, editable=False)
    """When it was sealed, by the database's clock."""
    previous = models.CharField(max_length=64, db_default="", editable=False)
    hash = models.CharField(_("hash"), max_length=64, db_default="", editable=False)
    body = models.TextField(editable=False)
    """Canonical JSON, as text: these very characters are hashed."""
    action = _part("action", _("action"))
    actor = _part("actor", _("actor"))
    actor_id = _part("actor_id", _("actor's id"))
    subject_kind = _part("subject,kind", _("subject"))
    subject_id = _part("subject,id", _("subject's id"))
    thread_id = _part("thread_id", _("thread"))

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit")
        ordering: ClassVar = ["-seq"]
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("export_auditevent", "Can export the audit")]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="audit_by_time"),
            models.Index(fields=["action", "-seq"], name="audit_by_action"),
            models.Index(fields=["actor", "-seq"], name="audit_by_actor"),
            models.Index(fields=["subject_kind", "subject_id", "-seq"], name="audit_by_subject"),
            # What a commit still has to seal: nearly always empty.
            models.Index(fields=["id"], name="audit_unsealed", condition=Q(seq__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action}"

    @cached_property
    def told(self) -> dict[str, Any]:
        """The body: action, actor, subject, before, after, reason and where it came from."""
        told: dict[str, Any] = json.loads(self.body)
        return told
