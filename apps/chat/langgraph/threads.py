"""Threads: made, found, changed and deleted by their owners."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from accounts.models import User
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from runtime import calls, copies, masking
from runtime.models import Assistant, Thread
from runtime.runs import GRAPH

from apps.chat.assistants import default, named
from apps.chat.deleting import delete_thread
from apps.chat.langgraph import assistants, shapes
from apps.chat.langgraph.bodies import ThreadCreate, ThreadFilter, ThreadPatch, ThreadPrune, ThreadSearch
from apps.chat.langgraph.http import (
    MINIMAL,
    ApiRequest,
    Problem,
    answered,
    body_of,
    nothing,
    paged,
    selected,
    told,
)

SORTED_BY = {
    "thread_id": "pk",
    "status": "wire_status",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "state_updated_at": "state__updated_at",
}


def get_thread(user: User, thread_id: UUID) -> Thread:
    """Their thread with its status. Http404: whose it is, or that it is, is nobody's business."""
    return get_object_or_404(
        shapes.with_status(Thread.objects.of(user)).select_related("assistant", "state"), pk=thread_id
    )


def create(request: ApiRequest) -> HttpResponse:
    body = body_of(request, ThreadCreate)
    refuse_unsupported(body, "ttl", "supersteps")
    thread_id = body.thread_id or uuid4()
    try:
        with transaction.atomic():
            make(request.user, thread_id, body.metadata or {})
    except IntegrityError:
        is_theirs = Thread.objects.of(request.user).filter(pk=thread_id).exists()
        if body.if_exists == "raise" or not is_theirs:
            return told(_("Thread %(id)s exists already.") % {"id": thread_id}, 409)
    return answered(shapes.of_thread(get_thread(request.user, thread_id)))


def make(user: User, thread_id: UUID, metadata: dict[str, Any]) -> None:
    """The row. It is on the assistant that its metadata names, until its first run says which."""
    names = (metadata.get("assistant_id"), metadata.get("graph_id"))
    wanted = [named(name) for name in names if isinstance(name, str)]
    assistant = next((each for each in wanted if each), None) or default()
    if assistant is None:
        raise Problem(_("There is no assistant yet. An administrator has to add one."), 409)
    # Not get_or_create: whose it is decides about what exists.
    Thread.objects.create(pk=thread_id, owner=user, assistant=assistant, metadata=masking.masked(metadata))


def mark(thread: Thread, assistant: Assistant) -> None:
    """Writes into the metadata what clients find their threads by. The caller holds the row."""
    names = mark_of(assistant)
    if not names.items() <= thread.metadata.items():
        thread.metadata = {**thread.metadata, **names}
        Thread.objects.filter(pk=thread.pk).update(metadata=thread.metadata)


def mark_of(assistant: Assistant) -> dict[str, str]:
    return {GRAPH: assistant.graph_id, "assistant_id": str(assistant.pk)}


def refuse_unsupported(body: Any, *names: str) -> None:
    for name in names:
        if getattr(body, name):
            raise Problem(_("%(name)s is not supported yet.") % {"name": name})


def show(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    return answered(shapes.of_thread(get_thread(request.user, thread_id)))


def change(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    """What comes is added to the metadata; a key that is there is replaced."""
    body = body_of(request, ThreadPatch)
    refuse_unsupported(body, "ttl")
    with transaction.atomic():
        mine = Thread.objects.of(request.user).select_for_update(no_key=True)
        thread = get_object_or_404(mine, pk=thread_id)
        thread.touch(metadata={**thread.metadata, **masking.masked(body.metadata or {})})
    if request.headers.get("Prefer") == MINIMAL:
        return nothing()
    return show(request, thread_id)


def delete(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    obstacle = delete_thread(get_thread(request.user, thread_id))
    return told(obstacle, 409) if obstacle else nothing()


def copy(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    made = copies.copy_thread(get_thread(request.user, thread_id))
    return answered(shapes.of_thread(get_thread(request.user, made.pk)))


def prune(request: ApiRequest) -> HttpResponse:
    """Takes their history from one's threads, or all of them; those that are at work or wait are left as they are."""
    body = body_of(request, ThreadPrune)
    mine = list(Thread.objects.of(request.user).filter(pk__in=body.thread_ids))
    if body.strategy == "delete":
        return answered({"pruned_count": sum(not delete_thread(thread) for thread in mine)})
    pruned = calls.ask("prune", thread_ids=[str(thread.pk) for thread in mine]) if mine else 0
    return answered({"pruned_count": pruned})


def search(request: ApiRequest) -> HttpResponse:
    body = body_of(request, ThreadSearch)
    refuse_unsupported(body, "extract")
    found = _found(request.user, body)
    rows = [shapes.of_thread(each) for each in assistants.in_order(found, body, SORTED_BY, "updated_at")]
    return paged(selected(rows, body.select), total=found.count(), offset=body.offset)


def count(request: ApiRequest) -> HttpResponse:
    return answered(_found(request.user, body_of(request, ThreadFilter)).count())


def _found(user: User, body: ThreadFilter) -> Any:
    threads = shapes.with_status(Thread.objects.of(user))
    if body.metadata:
        threads = threads.filter(metadata__contains=body.metadata)
    if body.values:
        threads = threads.filter(state__values__contains=body.values)
    if body.ids is not None:
        threads = threads.filter(pk__in=body.ids)
    if body.status:
        threads = threads.filter(wire_status=body.status)  # type: ignore[misc]  # annotated
    return threads
