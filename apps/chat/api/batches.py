"""Many texts that nobody waits for, analysed on a queue of their own: each a run, which fails or not by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from statistics import fmean
from typing import Literal
from uuid import UUID, uuid4

from accounts.callers import CallerAuth
from accounts.models import User
from accounts.scopes import Scope
from django.db import transaction
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Router
from runtime import runs
from runtime.models import ACTIVE, Run, RunQueue, RunStatus, Thread
from runtime.schemas import RunFields

from apps.chat.api import shapes
from apps.chat.api.analyses import FIELDS, analyser, results, unread
from apps.chat.api.analysis_schemas import (
    MOST_CHARS,
    AnalysisResult,
    BatchAverages,
    BatchItemOutcome,
    BatchOutcome,
    BatchTotals,
    NewBatch,
)
from apps.chat.api.doors import CantBeDone, answered, caller, once
from apps.chat.api.schemas import answers

router = Router(tags=["analyses"], auth=CallerAuth(Scope.CHAT))

FAILED = (RunStatus.ERROR, RunStatus.TIMEOUT)
Results = dict[UUID, AnalysisResult]


@router.post(
    "/analyze/batch",
    response=answers({202: BatchOutcome}, 409, 413),
    summary="Analyse texts in the background",
)
def begin(request: HttpRequest, wanted: NewBatch) -> HttpResponse:
    """Answers at once; `Location` is where to ask how it stands. Either all items begin, or none."""
    texts = [item.text for item in wanted.items]
    if sum(map(len, texts)) > MOST_CHARS:
        raise CantBeDone(
            _("The items have more than %(most)s characters in all.") % {"most": MOST_CHARS}, 422
        )
    first = once(request, partial(_begin, caller(request).user, texts)).run
    return _accepted(request, first.batch or first.pk)


@transaction.atomic
def _begin(user: User, texts: Sequence[str]) -> Run:
    """The first of the runs."""
    assistant, batch = analyser(), uuid4()
    begun = []
    for text in texts:
        # Nobody talks in these: they are not in the list of threads.
        thread = Thread.objects.create(owner=user, assistant=assistant, deleted_at=Now())
        fields: RunFields = {**FIELDS, "queue": RunQueue.BATCH, "batch": batch}
        begun.append(runs.send_message(thread, user, text, fields=fields))
    return begun[0]


@router.get(
    "/analyze/batch/{uuid:batch_id}",
    response=answers({200: BatchOutcome}, 404),
    summary="How a batch stands",
    url_name="show_batch",
)
def show(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """Each item with its own result or error, and what they come to together so far."""
    return answered(outcome(batch_id, _runs_of(request, batch_id)))


@router.post(
    "/analyze/batch/{uuid:batch_id}/cancel",
    response=answers({202: BatchOutcome}, 404, 409),
    summary="Stop a batch",
)
def cancel(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """What has not begun does not begin, and what is at work stops at once. Results that are there stay."""
    stopped = [runs.cancel_run(run) for run in _runs_of(request, batch_id) if run.is_active]
    if not any(stopped):
        raise CantBeDone(_("This batch has ended: there is nothing to cancel."))
    return _accepted(request, batch_id)


def _accepted(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    found = outcome(batch_id, _runs_of(request, batch_id))
    return answered(found, 202, Location=reverse("api-1:show_batch", args=[batch_id]))


def _runs_of(request: HttpRequest, batch_id: UUID) -> list[Run]:
    """In the order of the items. Http404 unless they are theirs."""
    mine = Run.objects.filter(user=caller(request).user, batch=batch_id, hidden_at__isnull=True)
    found = list(mine.order_by("created_at", "pk"))
    if not found:
        raise Http404
    return found


# What it comes to


def outcome(batch_id: UUID, items: Sequence[Run]) -> BatchOutcome:
    found = results(items)
    ended = sum(not run.is_active for run in items)
    return BatchOutcome(
        batch_id=batch_id,
        status=_status(items),
        fraction=round(ended / len(items), 2),
        totals=_totals(items, found),
        averages=_averages([result for result in found.values() if result.is_valid]),
        items=[_item(position, run, found) for position, run in enumerate(items)],
    )


def _status(items: Iterable[Run]) -> Literal["pending", "running", "done", "cancelled"]:
    states = {run.status for run in items}
    if states == {RunStatus.PENDING}:
        return "pending"
    if states & set(ACTIVE):
        return "running"
    return "cancelled" if RunStatus.CANCELLED in states else "done"


def _item(position: int, run: Run, found: Results) -> BatchItemOutcome:
    result = found.get(run.pk)
    return BatchItemOutcome.model_validate(
        {
            "position": position,
            "analysis_id": run.pk,
            "status": shapes.INTERRUPTED if run.status == RunStatus.WAITING else run.status,
            "result": result,
            "error": shapes.failure(run) or unread(run, result),
        }
    )


def _totals(items: Sequence[Run], found: Results) -> BatchTotals:
    states = Counter(run.status for run in items)
    valid = [result for result in found.values() if result.is_valid]
    return BatchTotals(
        items=len(items),
        pending=states[RunStatus.PENDING],
        running=states[RunStatus.RUNNING],
        succeeded=states[RunStatus.SUCCESS],
        failed=sum(states[status] for status in FAILED),
        cancelled=states[RunStatus.CANCELLED],
        valid=len(valid),
        words=sum(result.metrics.words for result in valid if result.metrics),
        sentiments=Counter(result.sentiment.sentiment for result in valid if result.sentiment),
        input_tokens=sum(run.input_tokens for run in items),
        output_tokens=sum(run.output_tokens for run in items),
    )


def _averages(valid: Sequence[AnalysisResult]) -> BatchAverages:
    metrics = [result.metrics for result in valid if result.metrics]
    return BatchAverages(
        words=_mean(each.words for each in metrics),
        sentences=_mean(each.sentences for each in metrics),
        reading_ease=_mean(each.reading_ease for each in metrics if each.reading_ease is not None),
        seconds=_mean(result.seconds for result in valid),
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(fmean(found), 2) if found else None
