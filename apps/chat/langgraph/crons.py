"""Runs on a schedule: made, changed and deleted by those they run for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from accounts.callers import Caller
from accounts.models import User
from accounts.scopes import Scope
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import ValidationError
from runtime import crons as doors
from runtime import masking, seal
from runtime.crons import Over
from runtime.models import Assistant, Cron, Run

from apps.chat.assistants import named
from apps.chat.langgraph import assistants, shapes, starting
from apps.chat.langgraph.bodies import CronCount, CronCreate, CronFields, CronPatch, CronSearch, RunCreate
from apps.chat.langgraph.http import (
    ApiRequest,
    Problem,
    answered,
    body_of,
    caller,
    nothing,
    paged,
    problems_of,
    selected,
)
from apps.chat.langgraph.threads import get_thread

SORTED_BY = {
    "cron_id": "pk",
    "assistant_id": "assistant",
    "thread_id": "thread",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "next_run_date": "next_run_at",
    "end_time": "end_time",
}
# Of the cron itself, and not of what it begins.
OF_SCHEDULE = {"schedule", "timezone", "end_time", "enabled", "on_run_completed", "assistant_id", "webhook"}


CHECKPOINT = ("checkpoint", "checkpoint_id", "checkpoint_ns")

# What changes when it is due next.
WHEN = {"schedule", "timezone", "end_time", "enabled"}


def create(request: ApiRequest, thread_id: UUID | None = None) -> HttpResponse:
    thread = get_thread(request.user, thread_id) if thread_id else None
    body = body_of(request, CronCreate)
    assistant = _assistant(body.assistant_id)
    cron = Cron(owner=request.user, assistant=assistant, thread=thread, key_id=caller(request).key_id)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=request.user.pk)  # or two at once are one too many
        if Cron.objects.filter(owner=request.user).count() >= settings.USER_CRON_LIMIT:
            raise Problem(
                _("You have %(most)s crons, and not more are allowed. Delete one.")
                % {"most": settings.USER_CRON_LIMIT},
                409,
            )
        _write(cron, body)
    return answered(shapes.of_cron(cron))


def change(request: ApiRequest, cron_id: UUID) -> HttpResponse:
    body = body_of(request, CronPatch)
    with transaction.atomic():
        mine = Cron.objects.filter(owner=request.user).select_for_update()
        cron = get_object_or_404(mine, pk=cron_id)
        cron.key_id = caller(request).key_id
        _write(cron, body)
    return answered(shapes.of_cron(cron))


def delete(request: ApiRequest, cron_id: UUID) -> HttpResponse:
    """What it began stays."""
    get_object_or_404(Cron, owner=request.user, pk=cron_id).delete()
    return nothing()


def search(request: ApiRequest) -> HttpResponse:
    body = body_of(request, CronSearch)
    found = _found(request.user, body)
    if body.enabled is not None:
        found = found.filter(is_enabled=body.enabled)
    rows = [shapes.of_cron(each) for each in assistants.in_order(found, body, SORTED_BY, "created_at")]
    return paged(selected(rows, body.select), total=found.count(), offset=body.offset)


def count(request: ApiRequest) -> HttpResponse:
    return answered(_found(request.user, body_of(request, CronCount)).count())


def _found(user: User, body: CronCount) -> QuerySet[Cron]:
    found = Cron.objects.filter(owner=user)
    if body.assistant_id:
        known = named(body.assistant_id)
        found = found.filter(Q(assistant=known) if known else Q(pk__in=[]))
    if body.thread_id:
        found = found.filter(thread=body.thread_id)
    if body.metadata:
        found = found.filter(metadata__contains=body.metadata)
    return found


def _assistant(name: str) -> Assistant:
    found = named(name)
    if found is None:
        raise Problem(f"{starting.INVALID} {_('There is none called %(name)s.') % {'name': name[:100]}}")
    return found


def _write(cron: Cron, body: CronFields) -> None:
    """Saves it with what the body says. Raises Problem and BadSchedule for what could not begin."""
    given = body.model_fields_set
    for name in {"schedule", "timezone", "on_run_completed"} & given:
        setattr(cron, name, getattr(body, name) or getattr(cron, name))
    if "end_time" in given:
        cron.end_time = _aware(body.end_time)
    if body.enabled is not None:
        cron.is_enabled = body.enabled
    if body.webhook is not None:
        cron.sealed_webhook = seal.sealed(body.webhook, seal.RUN_WEBHOOKS)
    if body.metadata is not None:
        cron.metadata = masking.masked(body.metadata)
    said = body.model_dump(mode="json", include=given - OF_SCHEDULE, exclude_none=True)
    # Marks that come back as they were read stand for what they stood for.
    payload = masking.opened({**cron.payload, **said}, cron.sealed)
    cron.payload, held = masking.taken(payload)
    cron.sealed = masking.kept(held)
    _refuse_checkpoint(payload)
    starting.check(_body_of(cron, payload))
    if cron._state.adding or given & WHEN:
        cron.problem = ""
        doors.plan(cron)
    cron.save()
    cron.refresh_from_db(fields=["created_at"])


def _refuse_checkpoint(payload: Mapping[str, Any]) -> None:
    """What is due begins without asking a worker whether it may."""
    configurable = (payload.get("config") or {}).get("configurable") or {}
    if any(place.get(name) for place in (payload, configurable) for name in CHECKPOINT):
        raise Problem(_("A cron goes on where its thread is by then: leave out the checkpoint."))


def _aware(moment: Any) -> Any:
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment


def _body_of(cron: Cron, payload: Mapping[str, Any]) -> RunCreate:
    """What a program would send to begin the run."""
    asked: dict[str, Any] = {
        **payload,
        "assistant_id": str(cron.assistant_id),
        "metadata": {**(payload.get("metadata") or {}), "cron_id": str(cron.pk)},
        "on_completion": cron.on_run_completed,
    }
    if cron.sealed_webhook:
        asked["webhook"] = seal.opened(cron.sealed_webhook, seal.RUN_WEBHOOKS)
    try:
        return RunCreate.model_validate(asked)
    except ValidationError as error:
        raise Problem(problems_of(error)) from None


def begin(cron: Cron) -> Run:
    """What is due. Raises Over where its owner, key, assistant or thread is gone, and RuntimeRefusal."""
    owner = Caller(cron.owner, frozenset({Scope.CHAT}), "process")
    if not cron.owner.is_active or not owner.may(Scope.CHAT):
        raise Over(_("Its owner may not begin runs any more."))
    if cron.key is not None and (cron.key.has_ended or Scope.CHAT not in cron.key.scopes):
        raise Over(_("The key it was made with has ended. Its owner can change and enable it with another."))
    if named(str(cron.assistant_id)) is None:
        raise Over(_("Its assistant is not offered any more."))
    try:
        payload = masking.opened(cron.payload, cron.sealed)
        _refuse_checkpoint(payload)
        return starting.start(owner, cron.thread_id, _body_of(cron, payload))
    except Http404 as gone:
        raise Over(_("Its thread was deleted.")) from gone
    except (Problem, seal.Unreadable) as problem:
        raise Over(str(problem)) from problem
