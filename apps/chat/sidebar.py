"""The list of a person's threads."""

from __future__ import annotations

from accounts.models import User
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from runtime.models import ACTIVE, RunStatus, Thread

PAGE_SIZE = 40


def threads_of(user: User) -> QuerySet[Thread]:
    return Thread.objects.with_status().of(user).select_related("assistant").order_by("-updated_at")


def page_of_threads(user: User, number: str | int | None = 1) -> Page[Thread]:
    """A page of the list, newest first; the nearest one when there is no such page."""
    return Paginator(threads_of(user), PAGE_SIZE).get_page(number)


def status_of(thread: Thread) -> str:
    """What the dot says: waiting, running, failed or idle. For threads out of `with_status()`."""
    if getattr(thread, "is_waiting", False):
        return "waiting"
    status = getattr(thread, "last_run_status", None)
    if status in ACTIVE:
        return "running"
    return "failed" if status in (RunStatus.ERROR, RunStatus.TIMEOUT) else "idle"
