"""Runs: begun, watched, waited for, stopped. Those without a thread get one that goes with their end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from runtime import events, idempotency
from runtime.idempotency import Started
from runtime.models import ACTIVE, Run, RunStatus, Thread
from runtime.runs import cancel_run

from apps.chat import watching
from apps.chat.langgraph import shapes, starting, streams
from apps.chat.langgraph.bodies import MODES, RunBatch, RunCreate, RunsCancel
from apps.chat.langgraph.http import (
    ApiRequest,
    Problem,
    answered,
    body_of,
    caller,
    flag,
    nothing,
    number,
    told,
)
from apps.chat.langgraph.threads import get_thread, mark

# What may be streamed of a thread: the steps of its runs, or only that they begin and end.
THREAD_MODES = ("run_modes", "lifecycle")

# Which of our statuses are one of theirs.
STATUSES = {
    "pending": [RunStatus.PENDING],
    "running": [RunStatus.RUNNING],
    "success": [RunStatus.SUCCESS, RunStatus.WAITING],
    "error": [RunStatus.ERROR],
    "timeout": [RunStatus.TIMEOUT],
    "interrupted": [RunStatus.CANCELLED],
}


def path_of(run: Run) -> str:
    """Relative to the API's root: clients put their own address in front."""
    return f"/threads/{run.thread_id}/runs/{run.pk}"


def get_run(request: ApiRequest, thread_id: UUID, run_id: UUID) -> Run:
    thread = get_thread(request.user, thread_id)
    return get_object_or_404(Run, pk=run_id, thread=thread, hidden_at__isnull=True)


def create(request: ApiRequest, thread_id: UUID | None = None) -> HttpResponse:
    run = _started(request, thread_id, body_of(request, RunCreate)).run
    return answered(shapes.of_run(run), **{"Content-Location": path_of(run)})


def create_batch(request: ApiRequest) -> HttpResponse:
    """All of them, or none."""
    bodies = body_of(request, RunBatch).root
    with transaction.atomic():
        made = [starting.start(caller(request), None, body) for body in bodies]
    return answered([shapes.of_run(run) for run in made])


def _started(request: ApiRequest, thread_id: UUID | None, body: RunCreate) -> Started:
    named = idempotency.named(request, request.user)
    return idempotency.once(named, lambda: starting.start(caller(request), thread_id, body))


def create_and_stream(request: ApiRequest, thread_id: UUID | None = None) -> HttpResponseBase:
    body = body_of(request, RunCreate)
    watching.refuse_one_more(request.user)
    cursor = watching.cursor_of(thread_id)
    run, is_again = _started(request, thread_id, body)
    watch = watching.watch_run(request, run, events.START if is_again else cursor)
    response = streams.as_events(watch, body.stream_mode, cancels=body.on_disconnect == "cancel")
    response["Location"] = f"{path_of(run)}/stream"
    response["Content-Location"] = path_of(run)
    return response


def create_and_wait(request: ApiRequest, thread_id: UUID | None = None) -> HttpResponseBase:
    body = body_of(request, RunCreate)
    watching.refuse_one_more(request.user)
    cursor = watching.cursor_of(thread_id)
    run, is_again = _started(request, thread_id, body)
    watch = watching.watch_run(request, run, events.START if is_again else cursor)
    response = streams.as_outcome(watch, cancels=body.on_disconnect == "cancel")
    response["Location"] = f"{path_of(run)}/join"
    response["Content-Location"] = path_of(run)
    return response


def index(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    found = get_thread(request.user, thread_id).runs.filter(hidden_at__isnull=True)
    if status := request.GET.get("status"):
        if status not in STATUSES:
            raise Problem(_("status: one of %(names)s.") % {"names": ", ".join(STATUSES)})
        found = found.filter(status__in=STATUSES[status])
    limit, offset = number(request, "limit", 10, most=1000), number(request, "offset", 0, most=1_000_000)
    return answered([shapes.of_run(run) for run in found.order_by("-created_at")[offset : offset + limit]])


def show(request: ApiRequest, thread_id: UUID, run_id: UUID) -> HttpResponse:
    return answered(shapes.of_run(get_run(request, thread_id, run_id)))


def delete(request: ApiRequest, thread_id: UUID, run_id: UUID) -> HttpResponse:
    run = get_run(request, thread_id, run_id)
    # What waits is decided in the queue, and its run is looked for there.
    ended = Run.objects.filter(pk=run.pk, ended_at__isnull=False).exclude(status=RunStatus.WAITING)
    if not ended.update(hidden_at=Now()):
        return told(_("This run has not ended. Cancel it first."), 409)
    return nothing()


def cancel(request: ApiRequest, thread_id: UUID, run_id: UUID) -> HttpResponseBase:
    run = get_run(request, thread_id, run_id)
    if not _cancelled(run, rolls_back=_rolls_back(request)):
        raise Problem(_("This run has ended: there is nothing to cancel."), 409)
    if flag(request, "wait"):
        return streams.as_run(watching.watch_run(request, run, watching.cursor_of(run.thread_id)))
    return nothing(202)


def cancel_many(request: ApiRequest) -> HttpResponse:
    """What has ended by then is passed over."""
    body, rolls_back = body_of(request, RunsCancel), _rolls_back(request)
    mine = Thread.objects.of(request.user)
    found = Run.objects.filter(thread__in=mine, status__in=ACTIVE, hidden_at__isnull=True)
    if body.status and not body.thread_id and not body.run_ids:
        found = found if body.status == "all" else found.filter(status=body.status)
    elif body.thread_id and body.run_ids and not body.status:
        thread = get_thread(request.user, body.thread_id)
        found = found.filter(thread=thread, pk__in=body.run_ids)
    else:
        raise Problem(_("Name thread_id and run_ids, or a status."))
    for run in found.order_by("-created_at"):  # what queues behind a run must not begin when that one ends
        _cancelled(run, rolls_back=rolls_back)
    return nothing()


def _rolls_back(request: ApiRequest) -> bool:
    action = request.GET.get("action", "interrupt")
    if action not in ("interrupt", "rollback"):
        raise Problem(_("action: interrupt or rollback."))
    return action == "rollback"


@transaction.atomic
def _cancelled(run: Run, *, rolls_back: bool) -> bool:
    """False, and nothing changed, where it had ended."""
    if not run.is_active:
        return False
    if rolls_back:
        _mark_rolled_back(run)
    if not cancel_run(run):
        transaction.set_rollback(True)
        return False
    return True


def _mark_rolled_back(run: Run) -> None:
    """Gone for programs; the next run begins where its turn began."""
    thread = Thread.objects.select_for_update(no_key=True).get(pk=run.thread_id)
    mark(thread, run.assistant)
    options = {**(run.options or {}), "rolls_back": True}
    Run.objects.filter(pk=run.pk).update(options=options, hidden_at=Now())


def join(request: ApiRequest, thread_id: UUID, run_id: UUID) -> HttpResponseBase:
    run = get_run(request, thread_id, run_id)
    watching.refuse_one_more(request.user)
    watch = watching.watch_run(request, run, watching.cursor_of(thread_id))
    return streams.as_outcome(watch, cancels=flag(request, "cancel_on_disconnect"))


def stream(request: ApiRequest, thread_id: UUID, run_id: UUID) -> HttpResponseBase:
    """From strictly after Last-Event-ID; -1 is from the run's beginning, none is from now."""
    run = get_run(request, thread_id, run_id)
    watching.refuse_one_more(request.user)
    after = request.headers.get("Last-Event-ID")
    cursor = watching.cursor_of(thread_id) if after is None else watching.cursor_from(after)
    watch = watching.watch_run(request, run, cursor)
    modes = _modes(request) or (run.options or {}).get("stream_mode") or ["values"]
    response = streams.as_events(
        watch, modes, cancels=flag(request, "cancel_on_disconnect"), is_live=after is None
    )
    response["Content-Location"] = path_of(run)
    return response


def stream_thread(request: ApiRequest, thread_id: UUID) -> HttpResponseBase:
    """What all its runs stream, one after the other, from strictly after Last-Event-ID; without one from now."""
    thread = get_thread(request.user, thread_id)
    watching.refuse_one_more(request.user)
    after = request.headers.get("Last-Event-ID")
    cursor = watching.cursor_of(thread.pk) if after is None else watching.cursor_from(after)
    # The SDKs send the first name, LangGraph's own server reads the second.
    modes = _modes(request, THREAD_MODES) or _modes(request, THREAD_MODES, key="stream_modes")
    watch = watching.watch_thread(request, thread.pk, cursor)
    return streams.as_thread_events(watch, with_steps="run_modes" in (modes or ["run_modes"]))


def _modes(request: ApiRequest, known: Sequence[str] = MODES, *, key: str = "stream_mode") -> list[str]:
    """Of the query: a key several times, or once with a JSON array."""
    given = request.GET.getlist(key)
    names = [name.strip().strip('"') for text in given for name in text.strip("[] ").split(",")]
    if unknown := [name for name in names if name and name not in known]:
        raise Problem(_("stream_mode: there is no %(names)s.") % {"names": ", ".join(unknown)[:100]})
    return [name for name in names if name]
