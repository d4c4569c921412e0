"""Deleting a thread, by whichever door."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _
from runtime.models import ACTIVE, HOLDS_INPUT, UNSETTLED, Thread


def delete_thread(thread: Thread) -> str:
    """Takes it from its owner. Returns why that can't be now; empty when it is done."""
    with transaction.atomic():
        Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
        obstacle = _obstacle(thread)
        if not obstacle:
            thread.withdraw_from_owner()
    return obstacle


def _obstacle(thread: Thread) -> str:
    """Why something on the thread could still happen; empty when nothing can."""
    if thread.runs.filter(status__in=ACTIVE).exists():
        return _("The assistant is still at work here. Stop it, then delete the thread.")
    if thread.tool_calls.filter(state__in={*UNSETTLED, *HOLDS_INPUT}).exists():
        return _("A tool call of this thread waits for a decision. Withdraw it, then delete the thread.")
    return ""
