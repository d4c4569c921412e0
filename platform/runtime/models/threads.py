"""What its owner sees: the thread, and the messages in it."""

from __future__ import annotations

import uuid
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime import audit
from runtime.models.assistants import Assistant
from runtime.models.runs import Run
from runtime.models.tool_calls import UNSETTLED, ToolCall

if TYPE_CHECKING:
    from accounts.models import User


class ThreadQuerySet(models.QuerySet["Thread"]):
    def of(self, owner: User) -> ThreadQuerySet:
        """This person's threads, without those they deleted."""
        return self.filter(owner=owner, deleted_at__isnull=True)

    def with_status(self) -> ThreadQuerySet:
        """Adds `last_run_status` and `is_waiting`: read off the runs, so no thread can be left 'busy'."""
        newest = Run.objects.filter(thread=OuterRef("pk")).order_by("-created_at")
        waiting = ToolCall.objects.filter(thread=OuterRef("pk"), state__in=UNSETTLED)
        return self.annotate(
            last_run_status=Subquery(newest.values("status")[:1]), is_waiting=Exists(waiting)
        )


class Thread(models.Model):
    """One exchange between a person and an assistant. Only its owner sees it in the chat."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="threads", verbose_name=_("owner")
    )
    assistant = models.ForeignKey(
        Assistant, models.PROTECT, related_name="threads", verbose_name=_("assistant")
    )
    title = models.CharField(_("title"), max_length=200, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("last active"), db_default=Now())
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    """Set when its owner deletes it. The row stays until retention ends: the audit of its tool calls hangs on it."""

    objects = ThreadQuerySet.as_manager()

    class Meta:
        verbose_name = _("thread")
        verbose_name_plural = _("threads")
        ordering: ClassVar = ["-updated_at"]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-updated_at"], name="thread_by_owner"),
            models.Index(fields=["updated_at"], name="thread_by_age"),
        ]

    def __str__(self) -> str:
        return self.title or str(_("New thread"))

    def touch(self, **fields: Any) -> None:
        """Writes `fields`, and that something happened now."""
        Thread.objects.filter(pk=self.pk).update(updated_at=Now(), **fields)

    def withdraw_from_owner(self) -> None:
        """Its owner deletes it: it is gone for them, and kept for the audit."""
        with transaction.atomic():
            if Thread.objects.filter(pk=self.pk, deleted_at__isnull=True).update(deleted_at=Now()):
                audit.append("thread.deleted", subject=self, thread_id=self.pk)


class Role(models.TextChoices):
    HUMAN = "human", _("person")
    AI = "ai", _("assistant")


class Message(models.Model):
    """What a page shows of a thread, written as each message ends, so pages never ask the checkpointer."""

    thread = models.ForeignKey(Thread, models.CASCADE, related_name="messages", verbose_name=_("thread"))
    run = models.ForeignKey(Run, models.CASCADE, related_name="messages", verbose_name=_("run"))
    message_id = models.CharField(_("message id"), max_length=100)
    """The id in the graph's state: the same message saved twice is one row."""
    role = models.CharField(_("role"), max_length=5, choices=Role.choices)
    content = models.TextField(_("text"), blank=True)
    is_partial = models.BooleanField(_("cut off"), default=False)
    """True when it was cut off: the run was stopped or failed while it streamed."""
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering: ClassVar = ["created_at", "pk"]
        indexes: ClassVar = [models.Index(fields=["thread", "created_at"], name="message_by_thread")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["thread", "message_id"], name="message_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="message_role_known"),
        ]

    def __str__(self) -> str:
        return self.content[:60]

    @property
    def key(self) -> str:
        return message_key(self.message_id)


def message_key(message_id: str) -> str:
    """What pages call a message, from its first token on: its id may hold anything a model endpoint sends."""
    return sha256(message_id.encode()).hexdigest()[:16]
