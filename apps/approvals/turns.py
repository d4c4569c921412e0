"""Working through requests that are due, one at a time, in step with whoever decides on them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from runtime import events
from runtime.models import Thread, ToolCall

from apps.approvals.models import ApprovalRequest

AT_ONCE = 100  # in one look; the next comes in seconds


def each_in_turn(due: QuerySet[ApprovalRequest], act: Callable[[ApprovalRequest], None]) -> None:
    for pk in due.values_list("pk", flat=True)[:AT_ONCE]:
        in_turn(due, pk, act)


@transaction.atomic
def in_turn(due: QuerySet[ApprovalRequest], pk: UUID, act: Callable[[ApprovalRequest], None]) -> None:
    """One at a time, and only what is still due: somebody may have decided, another worker may be at it."""
    if not lock(pk, skip_locked=True):
        return
    request = due.filter(pk=pk).select_related("tool_call__thread", "version").first()
    if request is not None:
        act(request)


def lock(request_id: UUID, *, skip_locked: bool = False) -> bool:
    """Thread, call, request: in the order in which everybody takes them, so that nobody waits in a circle.

    False when `skip_locked` and somebody else is at it.
    """
    of: dict[str, Any] = {"of": ("self",), "no_key": True, "skip_locked": skip_locked}
    found = (
        Thread.objects.filter(tool_calls__approval_requests=request_id).select_for_update(**of).first(),
        ToolCall.objects.filter(approval_requests=request_id).select_for_update(**of).first(),
        ApprovalRequest.objects.filter(pk=request_id).select_for_update(**of).first(),
    )
    return all(found)


def tell() -> None:
    """Whoever looks at the queue sees the change once it is committed."""
    transaction.on_commit(lambda: events.notify("approvals"))
