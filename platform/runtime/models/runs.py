"""What a worker performs: whose turn it is, the claim of it, and its end."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime import signals
from runtime.exceptions import LeaseLost
from runtime.models.assistants import Assistant, AssistantVersion
from runtime.models.tool_calls import HOLDS_INPUT, ToolCall
from runtime.postgresql.returning import update_one
from runtime.schemas import Usage


class RunStatus(models.TextChoices):
    PENDING = "pending", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting for a decision")
    SUCCESS = "success", _("done")
    ERROR = "error", _("failed")
    TIMEOUT = "timeout", _("out of time")
    CANCELLED = "cancelled", _("stopped")


class RunQueue(models.TextChoices):
    """Whose workers perform it: those of `batch` never keep a person who waits from an answer."""

    INTERACTIVE = "interactive", _("interactive")
    BATCH = "batch", _("batch")


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
    thread = models.ForeignKey(
        "runtime.Thread", models.CASCADE, related_name="runs", verbose_name=_("thread")
    )
    assistant = models.ForeignKey(Assistant, models.PROTECT, related_name="runs", verbose_name=_("assistant"))
    version = models.ForeignKey(
        AssistantVersion,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="runs",
        verbose_name=_("version"),
    )
    """Of the assistant, when the run was begun: it is performed as that says, however often it is taken up."""
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
    metadata = models.JSONField(_("metadata"), null=True, blank=True)
    config = models.JSONField(_("configuration"), null=True, blank=True)
    """Of the graph, as the program that began the run gave it; never thread or checkpoint."""
    context = models.JSONField(_("context"), null=True, blank=True)
    """What the graph finds as its runtime's context."""
    sealed = models.TextField(blank=True, default="", db_default="", editable=False)
    """What stood in input, configuration and context in the place of each mark: `runtime.masking`."""
    options = models.JSONField(_("options"), null=True, blank=True)
    """How a program wants it (`schemas.RunOptions`). Null: a page began it, and nobody streams its steps."""
    hidden_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    """Set when its owner deletes it: no program sees it any more. Its tool calls stay."""
    queue = models.CharField(
        _("queue"),
        max_length=20,
        choices=RunQueue.choices,
        default=RunQueue.INTERACTIVE,
        db_default=RunQueue.INTERACTIVE,
    )
    batch = models.UUIDField(_("batch"), null=True, blank=True, editable=False)
    """The id of the run that began first of those which were asked for together."""
    progress = models.JSONField(_("progress"), null=True, blank=True)
    """`schemas.RunProgress`, where its graph counts."""
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
    model_calls = models.JSONField(_("model calls"), default=list, db_default=[], blank=True)
    """`schemas.ModelCall`, oldest first: what each used, and what that cost by the prices of that moment."""
    cost = models.DecimalField(
        _("cost"), max_digits=24, decimal_places=12, default=Decimal(0), db_default=Decimal(0)
    )
    """Of the model calls whose model has a price."""
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
            models.Index(fields=["batch"], name="run_by_batch", condition=Q(batch__isnull=False)),
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
        return cls.objects.select_related("assistant", "version").get(pk=run_id) if claimed else None

    @transaction.atomic(savepoint=False)
    def advance(self, to: str, *, among: Q | None = None, **fields: Any) -> bool:
        """Moves to `to` with `fields`; False when the row is not `among` those, or in no status that leads there.

        Sends `run_changed` inside the transaction: a receiver that raises undoes the change.
        """
        sources = [status for status, targets in RUN_TRANSITIONS.items() if to in targets]
        if not update_one(Run.objects.filter(among or Q(), status__in=sources), self, status=to, **fields):
            return False
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
        self,
        status: str,
        *,
        error: str = "",
        error_type: str = "",
        usage: Usage | None = None,
    ) -> None:
        """Ends the run. Raises LeaseLost when another attempt owns it by now."""
        ended = self.advance(
            status,
            among=self._ours(),
            error=error,
            error_type=error_type,
            lease_expires_at=None,
            ended_at=Now(),
            **_added(usage),
        )
        if not ended:
            raise LeaseLost(run_id=self.pk)

    def release(self, usage: Usage | None = None) -> None:
        """Gives the run back before its end, if it is still ours: the next claim goes on from the checkpoint."""
        back = {"lease_expires_at": None, "drains": F("drains") + 1, **_added(usage)}
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


def _added(usage: Usage | None) -> dict[str, Any]:
    """What of an attempt comes to that of the attempts before it."""
    if usage is None:
        return {}
    calls = models.Value(usage["calls"], models.JSONField())
    return {
        "input_tokens": F("input_tokens") + usage["tokens"][0],
        "output_tokens": F("output_tokens") + usage["tokens"][1],
        "cost": F("cost") + usage["cost"],
        "model_calls": models.Func(F("model_calls"), calls, template="(%(expressions)s)", arg_joiner=" || "),
    }


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
