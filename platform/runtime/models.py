"""The rows that hold the truth, each with its own state machine.

A state changes in one place, by a conditional UPDATE: of two who try, one wins and the other is told.
Times are the database's (`Now()` is PostgreSQL's clock), so no process's clock can end a lease early.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, Expression, F, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime import audit, signals
from runtime.exceptions import LeaseLost

if TYPE_CHECKING:
    from accounts.models import User

# The namespace of LangGraph's own servers, so a graph has the same default assistant id everywhere.
ASSISTANT_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def assistant_id_for(graph_id: str) -> uuid.UUID:
    return uuid.uuid5(ASSISTANT_NAMESPACE, graph_id)


class Assistant(models.Model):
    """A configured graph: what a person picks when a thread begins."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph_id = models.CharField(_("graph"), max_length=100)
    name = models.CharField(_("name"), max_length=100)
    description = models.TextField(_("description"), blank=True)
    starters = models.JSONField(_("starters"), default=list, blank=True)
    """Up to four messages offered when a thread is empty: a list of strings."""
    config = models.JSONField(_("configuration"), default=dict, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    is_active = models.BooleanField(_("offered to people"), default=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("assistant")
        verbose_name_plural = _("assistants")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


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


class RunStatus(models.TextChoices):
    PENDING = "pending", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting for a decision")
    SUCCESS = "success", _("done")
    ERROR = "error", _("failed")
    TIMEOUT = "timeout", _("out of time")
    CANCELLED = "cancelled", _("stopped")


class RunQuerySet(models.QuerySet["Run"]):
    def claimable(self) -> RunQuerySet:
        """Pending runs whose turn it is on their thread.

        One that had begun before its worker died goes first, whatever it has asked by then. A resumed turn goes before
        messages that queue, and while a turn waits for a decision nothing but its resumption may run: LangGraph
        drops a pending interrupt in silence when new input comes.
        """
        same_thread = Run.objects.filter(thread=OuterRef("thread"))
        running = same_thread.filter(status=RunStatus.RUNNING)
        older = Q(created_at__lt=OuterRef("created_at"))
        older_resume = same_thread.filter(older, status=RunStatus.PENDING, command__isnull=False)
        resume = same_thread.filter(status=RunStatus.PENDING, command__isnull=False)
        older_input = same_thread.filter(older, status=RunStatus.PENDING, command__isnull=True)
        last_started = same_thread.filter(started_at__isnull=False).order_by("-started_at")
        waits = same_thread.filter(pk=Subquery(last_started.values("pk")[:1]), status=RunStatus.WAITING)
        undone = ToolCall.objects.filter(thread=OuterRef("thread"), state__in=HOLDS_INPUT)
        turn_of_resume = Q(command__isnull=False) & ~Exists(older_resume)
        turn_of_input = (
            Q(command__isnull=True)
            & ~Exists(resume)
            & ~Exists(older_input)
            & ~Exists(waits)
            & ~Exists(undone)
        )
        begun = same_thread.filter(status=RunStatus.PENDING, started_at__isnull=False)
        goes_on = Q(started_at__isnull=False)
        begins = ~Exists(begun) & (turn_of_resume | turn_of_input)
        return self.filter(~Exists(running), goes_on | begins, status=RunStatus.PENDING)

    def suspects(self) -> RunQuerySet:
        """Those that have one attempt left: performed alone, as they may be what kills their workers."""
        return self.filter(attempt__gte=_deaths() + F("drains"))

    def unsuspected(self) -> RunQuerySet:
        return self.filter(attempt__lt=_deaths() + F("drains"))


ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING)

# From each status, where a run may go. A status without an entry is final.
RUN_TRANSITIONS: dict[str, set[str]] = {
    RunStatus.PENDING: {RunStatus.RUNNING, RunStatus.CANCELLED},
    # Back to pending: its worker stopped or died, another one goes on from the checkpoint.
    RunStatus.RUNNING: {
        RunStatus.PENDING,
        RunStatus.WAITING,
        RunStatus.SUCCESS,
        RunStatus.ERROR,
        RunStatus.TIMEOUT,
        RunStatus.CANCELLED,
    },
    # A newer message took the place of what it waited for. Otherwise it stays: what resumes it is a run of its own.
    RunStatus.WAITING: {RunStatus.CANCELLED},
}


class Run(models.Model):
    """One go of a graph on a thread. A turn goes on after a decision in a new run, which `resumes` the old."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="runs", verbose_name=_("thread"))
    assistant = models.ForeignKey(Assistant, models.PROTECT, related_name="runs", verbose_name=_("assistant"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="runs", verbose_name=_("requester")
    )
    resumes = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="resumed_by", verbose_name=_("resumes")
    )
    replaces = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="replaced_by", verbose_name=_("replaces")
    )
    """A run that was stopped for this one, which begins where that one's turn began."""
    status = models.CharField(
        _("status"), max_length=10, choices=RunStatus.choices, default=RunStatus.PENDING
    )
    input = models.JSONField(_("input"), null=True, blank=True)
    command = models.JSONField(_("command"), null=True, blank=True)
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    """Counts claims and fences writes: what an earlier attempt still wants to write is refused."""
    drains = models.PositiveIntegerField(_("given back"), default=0)
    """Attempts that ended because their worker was told to stop: they don't count as deaths."""
    lease_expires_at = models.DateTimeField(_("lease ends"), null=True, blank=True)
    worker = models.CharField(_("worker"), max_length=100, blank=True)
    cancel_requested_at = models.DateTimeField(_("stop asked"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_type = models.CharField(_("kind of error"), max_length=100, blank=True)
    input_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [
            ("replay_run", "Can replay a run"),
            ("use_queue_dashboard", "Can use the queue dashboard"),
            ("view_metrics", "Can read the metrics"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["thread", "-created_at"], name="run_by_thread"),
            models.Index(
                fields=["status", "lease_expires_at"],
                name="run_live",
                condition=Q(status__in=["pending", "running"]),
            ),
            models.Index(
                fields=["user"], name="run_live_by_user", condition=Q(status__in=["pending", "running"])
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["thread"], condition=Q(status="running"), name="run_one_running_per_thread"
            ),
            models.CheckConstraint(condition=Q(status__in=RunStatus.values), name="run_status_known"),
            # A running run without a lease would be invisible to the reaper.
            models.CheckConstraint(
                condition=~Q(status="running") | Q(lease_expires_at__isnull=False),
                name="run_running_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}"

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @classmethod
    def claim(cls, run_id: uuid.UUID | str, worker: str, *, alone: bool = False) -> Run | None:
        """The run, now ours under a lease; None when it is taken, ended, or not yet its turn on the thread.

        A suspect is only given to who performs nothing else.
        """
        its_turn, params = _claimable()
        claim = CLAIM.format(its_turn=its_turn)
        # One statement is a transaction by itself.
        own = transaction.atomic() if connection.in_atomic_block else nullcontext()
        try:
            with own, connection.cursor() as cursor:
                cursor.execute(claim, [worker, settings.RUN_LEASE, str(run_id), alone, _deaths(), *params])
                claimed = cursor.rowcount
        except IntegrityError:  # another run of the thread began at the same instant
            return None
        return cls.objects.select_related("assistant").get(pk=run_id) if claimed else None

    @transaction.atomic(savepoint=False)
    def advance(self, to: str, *, among: Q | None = None, **fields: Any) -> bool:
        """Moves to `to` with `fields`; False when the row is not `among` those, or in no status that leads there.

        Sends `run_changed` inside the transaction: a receiver that raises undoes the change. What the database
        computes is read when it is asked for.
        """
        sources = [status for status, targets in RUN_TRANSITIONS.items() if to in targets]
        rows = Run.objects.filter(among or Q(), pk=self.pk, status__in=sources)
        if not rows.update(status=to, **fields):
            return False
        self.status = to
        for name, value in fields.items():
            if isinstance(value, Expression | F):
                self.__dict__.pop(name, None)  # as if it had been deferred
            else:
                setattr(self, name, value)
        signals.run_changed.send(Run, run=self)
        return True

    def _ours(self) -> Q:
        """True for the row while this attempt owns it."""
        return Q(attempt=self.attempt, status=RunStatus.RUNNING)

    def hold(self) -> None:
        """Locks the row for the transaction it is called in. Raises LeaseLost when the run is no longer ours."""
        held = Run.objects.filter(self._ours(), pk=self.pk)
        if not held.select_for_update(no_key=True).exists():
            raise LeaseLost(run_id=self.pk)

    def finish(
        self, status: str, *, error: str = "", error_type: str = "", tokens: tuple[int, int] = (0, 0)
    ) -> None:
        """Ends the run. Raises LeaseLost when another attempt owns it by now."""
        ended = self.advance(
            status,
            among=self._ours(),
            error=error,
            error_type=error_type,
            input_tokens=F("input_tokens") + tokens[0],
            output_tokens=F("output_tokens") + tokens[1],
            lease_expires_at=None,
            ended_at=Now(),
        )
        if not ended:
            raise LeaseLost(run_id=self.pk)

    def release(self) -> None:
        """Gives the run back before its end, if it is still ours: the next claim goes on from the checkpoint."""
        back = {"lease_expires_at": None, "drains": F("drains") + 1}
        self.advance(RunStatus.PENDING, among=self._ours(), **back)

    @classmethod
    def renew(cls, held: Iterable[tuple[uuid.UUID, int]]) -> set[uuid.UUID]:
        """Extends the leases of `(run id, attempt)` pairs in one statement; returns the ids still ours."""
        wanted = dict(held)
        if not wanted:
            return set()
        ours = Q()
        for run_id, attempt in wanted.items():
            ours |= Q(pk=run_id, attempt=attempt)
        cls.objects.filter(ours, status=RunStatus.RUNNING).update(lease_expires_at=lease_end())
        rows = cls.objects.filter(ours, status=RunStatus.RUNNING)
        return set(rows.values_list("pk", flat=True))


# What `claimable` says, as text: Django would take 3 ms to put it together anew for every claim. The status is
# asked for once more outside: of two claims at once, the second looks at nothing else again after its wait.
CLAIM = """
UPDATE runtime_run SET status = 'running', attempt = attempt + 1, worker = %s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %s),
    started_at = coalesce(started_at, statement_timestamp())
WHERE id = %s AND status = 'pending' AND (%s OR attempt - drains < %s) AND id IN ({its_turn})
"""


def _deaths() -> int:
    """Of workers, after which a run is a suspect: one more is the last that it is forgiven."""
    return max(1, int(settings.RUN_MAX_ATTEMPTS) - 1)


@cache
def _claimable() -> tuple[str, tuple[Any, ...]]:
    sql, params = Run.objects.claimable().order_by().values("pk").query.sql_with_params()
    return sql, tuple(params)


def lease_end() -> Any:
    """An expression: the moment, on the database's clock, at which a lease given now runs out."""
    return Now() + timedelta(seconds=settings.RUN_LEASE)


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
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="tool_calls", verbose_name=_("thread"))
    run = models.ForeignKey(Run, models.CASCADE, related_name="tool_calls", verbose_name=_("run"))
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
        is_moved = ToolCall.objects.filter(pk=self.pk, state__in=sources).update(state=to, **fields) == 1
        self._reload({**self._state.fields_cache, **fields})
        if not is_moved:
            return False
        signals.tool_call_changed.send(ToolCall, tool_call=self)
        return True

    def _reload(self, known: Mapping[str, Any]) -> None:
        """As the row is by now. Those of `known` whom it still names need no further round trip."""
        self.refresh_from_db()
        for name in ("user", "assistant", "decided_by"):
            person = known.get(name)
            if isinstance(person, models.Model) and person.pk == getattr(self, f"{name}_id"):
                setattr(self, name, person)


from runtime.audit.models import AuditEvent as AuditEvent  # noqa: E402  (Django looks for models here)
