"""Tells the address that a program named of its run's end. Runs in the workers of the queue `maintenance`.

A webhook is claimed under a lease before it is tried, so nobody else tries it meanwhile. A process that dies between
sending and saying so leaves one that is sent again when its lease is over: at least once, not exactly once.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any
from uuid import UUID

from accounts.scopes import PERMISSIONS, Scope
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Window
from django.db.models.functions import Now, RowNumber
from django.utils import timezone
from django.utils.translation import gettext as _
from runtime import calls, jobs, seal
from runtime.exceptions import NoWorker
from runtime.models import Run, RunStatus, RunWebhook, RunWebhookAttempt, ThreadState, WebhookStatus
from runtime.webhooks import addresses, http
from runtime.webhooks.addresses import Inside
from runtime.webhooks.http import Unsuccessful
from runtime.webhooks.retries import LEASE, MAX_TRIES, delay
from runtime.webhooks.signing import signed

from apps.chat.langgraph import shapes
from apps.chat.langgraph.http import Problem

logger = logging.getLogger(__name__)

PERFORM = "apps.chat.langgraph.webhooks.perform"
MAX_CHARS = 2000  # of an address
AT_ONCE_TO_ONE = 4  # attempts under way to one host
AT_ONCE_OF_ONE = 4  # and for one person, whatever the hosts
DUE_AT_ONE_LOOK = 500  # the next comes in seconds
OF_ONE_AT_ONE_LOOK = 20  # of those, to one host or for one person
KEPT_BYTES = 1024 * 1024  # of values; a worker is asked for larger ones when they are sent

Outcome = RunWebhookAttempt.Outcome


def check(url: str) -> None:
    """Raises Problem for an address that no run may tell. What its name leads to is looked at when it is called."""
    if len(url) > MAX_CHARS:
        raise Problem(_("webhook: at most %(most)s characters.") % {"most": MAX_CHARS})
    try:
        addresses.check_url(url, Inside.RUNS)
    except addresses.Refused as refused:
        raise Problem(f"webhook: {refused}") from refused


def left_by(run: Run) -> Any:
    """The values at the run's end, with what it asks; None where only a worker can tell."""
    state = ThreadState.objects.filter(thread=run.thread_id, run=run).first()
    values = _with_questions(run, state.values, state.interrupts) if state else None
    return values if len(_json(values)) <= KEPT_BYTES else None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _with_questions(run: Run, values: Any, interrupts: list[Any]) -> Any:
    if run.status != RunStatus.WAITING or not isinstance(values, dict):
        return values
    return {**values, "__interrupt__": [shapes.public(each) for each in interrupts]}


def enqueue_due() -> int:
    """Brings to the queue what is due and not in it: first tries that Redis lost, repetitions. How many."""
    missing = jobs.not_queued(PERFORM, _due())
    jobs.enqueue(PERFORM, missing)
    return len(missing)


def _due() -> list[str]:
    """The oldest of each person in turn: however many one has, or one host gets, there is room for the others."""
    turn = Window(RowNumber(), partition_by=[F("run__user")], order_by=F("due_at").asc())
    due = RunWebhook.due().annotate(turn=turn).filter(turn__lte=OF_ONE_AT_ONE_LOOK)
    hosts: Counter[str] = Counter()
    found: list[str] = []
    for pk, host in due.order_by("turn", "due_at").values_list("pk", "host")[: 10 * DUE_AT_ONE_LOOK]:
        hosts[host] += 1
        if hosts[host] <= OF_ONE_AT_ONE_LOOK:
            found.append(str(pk))
    return found[:DUE_AT_ONE_LOOK]


def perform(webhook_id: str) -> str:
    """The job: tries this one. Says what came of it."""
    with jobs.half_of_the_slots() as is_free:  # the others are for what approvers are told
        return _perform(UUID(webhook_id)) if is_free else "not now"


def _perform(webhook_id: UUID) -> str:
    webhook = claim(webhook_id)
    if webhook is None:
        return "not claimed"
    attempt = RunWebhookAttempt.objects.create(webhook=webhook)
    try:
        status = _send(webhook)
    except Unsuccessful as problem:
        return _fail(webhook, attempt, problem)
    except Exception as error:  # a fault of ours is shown and retried as well: nobody waits for it in silence
        logger.exception("webhook failed", extra={"action": "webhook_failed", "run_id": str(webhook.run_id)})
        return _fail(webhook, attempt, Unsuccessful(type(error).__name__))
    _record(attempt, Outcome.SENT, status)
    _settle(webhook, WebhookStatus.SENT)
    return "sent"


@transaction.atomic
def claim(webhook_id: UUID) -> RunWebhook | None:
    """The webhook, now ours for the lease; None when it is not due, somebody's, or enough is under way already."""
    due = RunWebhook.due().filter(pk=webhook_id)
    first = due.select_related("run").first()
    if first is None:
        return None
    # Until the end of the transaction, as the counts below have to hold; in this order, whoever comes.
    for name in (f"webhook of {first.run.user_id}", f"webhook to {first.host}"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
    # One that hangs must not keep all of a worker's slots, nor one person with hosts that hang.
    under_way = RunWebhook.objects.filter(status=WebhookStatus.SENDING, lease_expires_at__gt=Now())
    if under_way.filter(host=first.host).count() >= AT_ONCE_TO_ONE:
        return None
    if under_way.filter(run__user=first.run.user_id).count() >= AT_ONCE_OF_ONE:
        return None
    taken = due.update(status=WebhookStatus.SENDING, tries=F("tries") + 1, lease_expires_at=Now() + LEASE)
    return RunWebhook.objects.select_related("run__user").get(pk=webhook_id) if taken else None


def _send(webhook: RunWebhook) -> int:
    user = webhook.run.user
    if not user.is_active or not user.has_perm(PERMISSIONS[Scope.CHAT]):
        raise Unsuccessful(_("Whoever began the run may not begin runs any more."), is_final=True)
    try:
        url = webhook.url
    except seal.Unreadable as problem:
        raise Unsuccessful(str(problem), is_final=True) from problem
    body = _json(payload(webhook))
    return http.post(url, body, signed(webhook.pk, body, settings.RUN_WEBHOOK_SECRET), Inside.RUNS)[0]


def payload(webhook: RunWebhook) -> dict[str, Any]:
    """What docs/howto/langgraph-clients.md describes. Raises Unsuccessful when the values can't be had now."""
    run = webhook.run
    return {
        **shapes.of_run(run),
        "run_started_at": run.started_at.isoformat() if run.started_at else None,
        "run_ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "webhook_sent_at": timezone.now().isoformat(),
        "values": _values(webhook),
        **({"error": shapes.error_of(run)} if run.status in shapes.ENDED_BADLY else {}),
    }


def _values(webhook: RunWebhook) -> Any:
    """As the run left them. Where no row tells, a worker does, unless another run has gone on since."""
    run = webhook.run
    if webhook.values is not None or run.started_at is None or ThreadState.last_run(run.thread_id) != run:
        return webhook.values
    try:
        state = calls.ask("state", thread_id=str(run.thread_id))
    except NoWorker as problem:
        raise Unsuccessful(str(problem)) from problem
    return _with_questions(run, state["values"], state["interrupts"])


def _record(attempt: RunWebhookAttempt, outcome: str, status: int | None = None, error: str = "") -> None:
    RunWebhookAttempt.objects.filter(pk=attempt.pk).update(
        outcome=outcome, ended_at=Now(), http_status=status, error=error[:300]
    )


def _settle(webhook: RunWebhook, status: str, *, error: str = "", **fields: Any) -> None:
    """Not where somebody took it over because we took too long: it has one try more."""
    ours = RunWebhook.objects.filter(pk=webhook.pk, status=WebhookStatus.SENDING, tries=webhook.tries)
    settled = {"settled_at": Now()} if status in (WebhookStatus.SENT, WebhookStatus.FAILED) else {}
    gone = {"values": None} if status == WebhookStatus.SENT else {}
    ours.update(status=status, lease_expires_at=None, error=error[:300], **settled, **gone, **fields)


def _fail(webhook: RunWebhook, attempt: RunWebhookAttempt, problem: Unsuccessful) -> str:
    _record(attempt, Outcome.FAILED, problem.status, str(problem))
    is_over = problem.is_final or webhook.tries >= MAX_TRIES
    extra = {"action": "webhook_unsuccessful", "run_id": str(webhook.run_id), "given_up": is_over}
    logger.warning("webhook unsuccessful", extra=extra)
    if is_over:
        _settle(webhook, WebhookStatus.FAILED, error=str(problem))
        return "failed"
    _settle(webhook, WebhookStatus.PENDING, error=str(problem), due_at=Now() + delay(webhook.tries))
    return "to be tried again"
