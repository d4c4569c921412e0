"""Where a thread's graph came to rest, for whoever must not ask the checkpointer."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from runtime.models.runs import Run
from runtime.models.threads import Thread


class ThreadState(models.Model):
    """The newest checkpoint of a thread as JSON. Written with the end of each run that a program began."""

    thread = models.OneToOneField(
        Thread, models.CASCADE, primary_key=True, related_name="state", verbose_name=_("thread")
    )
    run = models.ForeignKey(
        Run, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("run")
    )
    """The run that ended last when this was written: another one since, and this is out of date."""
    values = models.JSONField(_("values"), default=dict)
    next = models.JSONField(default=list)
    tasks = models.JSONField(default=list)
    interrupts = models.JSONField(default=list)
    """`schemas.ShownInterrupt` of each that is pending."""
    metadata = models.JSONField(_("metadata"), default=dict)
    checkpoint = models.JSONField(null=True)
    parent_checkpoint = models.JSONField(null=True)
    created_at = models.DateTimeField(_("created"), null=True)
    """Of the checkpoint."""
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("state of a thread")
        verbose_name_plural = _("states of threads")

    @staticmethod
    def last_run(thread_id: UUID) -> Run | None:
        """The run that a row has to name to be up to date."""
        ended = Run.objects.filter(thread=thread_id, ended_at__isnull=False)
        return ended.order_by("-ended_at").first()

    def __str__(self) -> str:
        return str(self.thread_id)
