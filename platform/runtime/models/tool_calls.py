"""Every tool call from proposal to result: the ledger."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any, ClassVar, cast

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime import masking, signals
from runtime.models.assistants import Assistant
from runtime.postgresql.returning import update_one


class ToolState(models.TextChoices):
    PROPOSED = "proposed", _("proposed")
    WAITING = "waiting", _("waiting for approval")
    APPROVED = "approved", _("approved")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    REJECTED = "rejected", _("rejected")
    RESPONDED = "responded", _("answered by a person")
    DENIED = "denied", _("denied by policy")
    EXPIRED = "expired", _("expired")
    SUPERSEDED = "superseded", _("superseded")
    CANCELLED = "cancelled", _("cancelled")
    UNKNOWN = "unknown", _("outcome unknown")


# From each state, where a tool call may go. A state without an entry is final.
TOOL_TRANSITIONS: dict[str, set[str]] = {
    ToolState.PROPOSED: {ToolState.WAITING, ToolState.APPROVED, ToolState.DENIED, ToolState.CANCELLED},
    ToolState.WAITING: {
        ToolState.APPROVED,
        ToolState.REJECTED,
        ToolState.RESPONDED,
        ToolState.EXPIRED,
        ToolState.SUPERSEDED,
        ToolState.CANCELLED,
    },
    # Back to waiting, or denied: the permit was void by the time it was to be used.
    ToolState.APPROVED: {ToolState.RUNNING, ToolState.WAITING, ToolState.DENIED, ToolState.CANCELLED},
    ToolState.RUNNING: {ToolState.DONE, ToolState.FAILED, ToolState.UNKNOWN},
    # A person settles it: run it again, record what it did, or call it failed.
    ToolState.UNKNOWN: {ToolState.APPROVED, ToolState.RESPONDED, ToolState.FAILED},
}


UNSETTLED = (ToolState.WAITING, ToolState.UNKNOWN)  # a person has to say how it goes on
HOLDS_INPUT = (ToolState.WAITING, ToolState.APPROVED)  # new input would drop its interrupt in silence


class Effect(models.TextChoices):
    """What a second execution of the same call would do to the world."""

    NONE = "none", _("none")
    IDEMPOTENT = "idempotent", _("idempotent")
    RECONCILE = "reconcile", _("reconcile")
    ONCE = "once", _("once")


class CallKind(models.TextChoices):
    """Who is in front of it: our gateway, or the graph itself by an interrupt of its own."""

    CALL = "call", _("tool call")
    ACTION = "action", _("action of the graph")
    QUESTION = "question", _("question of the graph")


class ToolCall(models.Model):
    """One tool call from proposal to result: the ledger that keeps it from running twice, and the audit of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """Also the idempotency key handed to the tool."""
    thread = models.ForeignKey(
        "runtime.Thread", models.CASCADE, related_name="tool_calls", verbose_name=_("thread")
    )
    run = models.ForeignKey("runtime.Run", models.CASCADE, related_name="tool_calls", verbose_name=_("run"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="tool_calls", verbose_name=_("requester")
    )
    assistant = models.ForeignKey(
        Assistant, models.PROTECT, related_name="tool_calls", verbose_name=_("assistant")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=CallKind.choices, default=CallKind.CALL)
    task_id = models.CharField(max_length=100)
    """LangGraph's task, stable over resumes and crashes; of what the graph asks by itself, its interrupt."""
    interrupt_id = models.CharField(max_length=100, blank=True)
    """Which interrupt of the graph it is of; empty for a call that came through the gateway."""
    position = models.PositiveIntegerField(default=0)
    """Its place among the actions of its interrupt: answers go back in that order."""
    takes = models.JSONField(default=list)
    """The decisions the graph takes; empty for a call, which takes whatever the policy allows."""
    call_id = models.CharField(_("call id"), max_length=200)
    tool = models.CharField(_("tool"), max_length=100)
    sensitive = models.BooleanField(_("sensitive"), default=False)
    effect = models.CharField(_("effect"), max_length=10, choices=Effect.choices, default=Effect.ONCE)
    state = models.CharField(_("state"), max_length=10, choices=ToolState.choices, default=ToolState.PROPOSED)
    why = models.TextField(_("why"), blank=True)
    """What the model said as it proposed the call. Written by the model: never to be trusted."""
    preview = models.TextField(_("preview"), blank=True, default="")
    """What the tool said, as the call was proposed, that it would do. Empty: it has no preview, or it failed."""
    preview_error = models.TextField(_("error of the preview"), blank=True, default="")
    proposed_args = models.JSONField(_("arguments as proposed"), default=dict)
    proposed_digest = models.CharField(max_length=64, default="")
    """Of the call as proposed, tool and arguments: models give one id to different calls."""
    args = models.JSONField(_("arguments as run"), default=dict)
    args_digest = models.CharField(max_length=64)
    """SHA-256 of the canonical `args`: what was reviewed is what runs."""
    args_schema = models.JSONField(default=dict)
    """JSON schema of the tool's arguments, so that the queue can offer and check edits."""
    sealed = models.TextField(blank=True, default="", db_default="", editable=False)
    """What stands in `args`, and in `result`, in the place of each mark: `runtime.masking`."""
    decision = models.CharField(_("decision"), max_length=10, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="decisions",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    policy = models.CharField(_("policy"), max_length=200, blank=True)
    result = models.TextField(_("result"), blank=True)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("proposed"), db_default=Now(), editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [("export_toolcall", "Can export the audit of tool calls")]
        indexes: ClassVar = [
            models.Index(fields=["thread", "created_at"], name="toolcall_by_thread"),
            models.Index(fields=["state", "created_at"], name="toolcall_by_state"),
            models.Index(fields=["tool", "-created_at"], name="toolcall_by_tool"),
            models.Index(fields=["user", "-created_at"], name="toolcall_by_user"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["thread", "task_id", "call_id", "proposed_digest"], name="toolcall_once"
            ),
            models.CheckConstraint(condition=Q(state__in=ToolState.values), name="toolcall_state_known"),
            models.CheckConstraint(condition=Q(effect__in=Effect.values), name="toolcall_effect_known"),
            models.CheckConstraint(condition=Q(kind__in=CallKind.values), name="toolcall_kind_known"),
            models.CheckConstraint(
                condition=Q(kind="call", interrupt_id="") | (~Q(kind="call") & ~Q(interrupt_id="")),
                name="toolcall_interrupt_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.get_state_display()})"

    @property
    def true_args(self) -> dict[str, Any]:
        """What runs: `args` with what is masked in them. For the gateway; raises seal.Unreadable."""
        return cast(dict[str, Any], masking.opened(self.args, self.sealed))

    @property
    def duration(self) -> timedelta | None:
        return self.finished_at - self.started_at if self.finished_at and self.started_at else None

    @property
    def is_settled(self) -> bool:
        return self.state not in TOOL_TRANSITIONS

    @property
    def is_edited(self) -> bool:
        """A person changed what the model wrote. As text: 1 == True == 1.0, and a tool sees the difference."""
        written, run = (json.dumps(args, sort_keys=True) for args in (self.proposed_args, self.args))
        return written != run

    @transaction.atomic(savepoint=False)  # two round trips less; a receiver's error undoes all of it anyway
    def advance(self, to: str, **fields: Any) -> bool:
        """Moves to `to` with `fields`; False when the row is in no state from which `to` can be reached.

        Either way this object is as the row is by then. Sends `tool_call_changed` inside the transaction: a
        receiver that raises undoes the change.
        """
        sources = [state for state, targets in TOOL_TRANSITIONS.items() if to in targets]
        if not update_one(ToolCall.objects.filter(state__in=sources), self, state=to, **fields):
            self.refresh_from_db()
            return False
        signals.tool_call_changed.send(ToolCall, tool_call=self)
        return True
