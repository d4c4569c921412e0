"""A text, and its analysis in the same request."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

from accounts.callers import CallerAuth, refused
from accounts.exceptions import Unauthenticated
from accounts.scopes import Scope
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Router
from pydantic import ValidationError
from runtime import events
from runtime.database import in_database
from runtime.models import Assistant, Run, RunStatus, ThreadState
from runtime.schemas import RunFields

from apps.chat import assistants, watching
from apps.chat.api import shapes
from apps.chat.api.analysis_schemas import AnalysisOutcome, AnalysisResult, TextToAnalyse
from apps.chat.api.chat import GOES_ON, ended_within
from apps.chat.api.doors import CantBeDone, answered, caller, get_task, once, say
from apps.chat.api.schemas import Failure, answers
from apps.chat.late import LateResponse
from apps.chat.watching import RunWatch

router = Router(tags=["analyses"], auth=CallerAuth(Scope.CHAT))

# Nothing of it is streamed, but the state it leaves goes into a row: there the result is read.
FIELDS: RunFields = {"options": {"stream_mode": []}}


@router.post(
    "/analyze",
    response=answers({200: AnalysisOutcome, 202: AnalysisOutcome}, 409, 413),
    summary="Analyse a text, and wait",
)
def analyze(request: HttpRequest, sent: TextToAnalyse) -> HttpResponseBase:
    """The analysis (200), as soon as it is there; 202 when it is not within `timeout` seconds: look at `Location`.

    A run that failed is a 200 that says so.
    """
    user = caller(request).user
    watching.refuse_one_more(user)
    start = partial(say, user, sent.text, assistant=str(analyser().pk), fields=FIELDS)
    watch = watching.watch_run(request, once(request, start).run, events.START)
    return LateResponse(partial(_outcome_within, watch, sent.timeout))


@router.get(
    "/analyze/{uuid:analysis_id}",
    response=answers({200: AnalysisOutcome}, 404),
    summary="How an analysis stands",
    url_name="show_analysis",
)
def show(request: HttpRequest, analysis_id: UUID) -> HttpResponse:
    return answered(outcome(get_task(request, analysis_id).pk))


async def _outcome_within(watch: RunWatch, timeout: float) -> HttpResponse:
    if not await ended_within(watch, timeout):
        return refused(Unauthenticated())
    found = await in_database(outcome, watch.run.pk)
    if found.status in GOES_ON:
        return answered(found, 202, Location=reverse("api-1:show_analysis", args=[found.analysis_id]))
    return answered(found)


def analyser() -> Assistant:
    """The assistant whose runs analyses are. Raises CantBeDone."""
    found = assistants.named(settings.ANALYSIS_ASSISTANT)
    if found is None:
        raise CantBeDone(_("There is no assistant for analyses. An administrator has to add one."))
    return found


def outcome(run_id: UUID) -> AnalysisOutcome:
    told = shapes.outcome(run_id)
    run = Run.objects.get(pk=run_id)
    result = results([run]).get(run_id)
    return AnalysisOutcome(
        analysis_id=run_id,
        session_id=told.session_id,
        status=told.status,
        result=result,
        report=told.answer,
        error=told.error or unread(run, result),
        usage=told.usage,
    )


def results(runs: Iterable[Run]) -> dict[UUID, AnalysisResult]:
    """Of those that have one, by their run."""
    rows = ThreadState.objects.filter(run__in=[run.pk for run in runs]).values_list(
        "run_id", "values__analysis"
    )
    found = {run_id: _read(value) for run_id, value in rows if run_id is not None and value}
    return {run_id: result for run_id, result in found.items() if result is not None}


def _read(value: Any) -> AnalysisResult | None:
    try:
        return AnalysisResult.model_validate(value)
    except ValidationError:  # another graph was put in its place
        return None


def unread(run: Run, result: AnalysisResult | None) -> Failure | None:
    """Of a run that came to its end, and whose result is not there all the same."""
    if run.status != RunStatus.SUCCESS or result is not None:
        return None
    return Failure(type="NoResult", message=_("The result was not kept. Send the text again."))
