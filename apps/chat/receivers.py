"""What the ends of runs set off for programs."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.dispatch import receiver
from runtime import crons, jobs, signals
from runtime.models import Run, RunWebhook

from apps.chat.langgraph import crons as cron_views
from apps.chat.langgraph import webhooks


@receiver(signals.run_changed)
def tell_of_the_end(run: Run, **_: Any) -> None:
    """A run that waits has ended as well: what goes on after a decision is a run of its own."""
    if run.is_active or run.options is None:  # only programs name an address
        return
    webhook = RunWebhook.armed(run)
    if webhook is not None and webhook.release(webhooks.left_by(run)):
        transaction.on_commit(lambda: jobs.enqueue(webhooks.PERFORM, [str(webhook.pk)]))


@receiver(signals.reconciling)
def bring_what_is_due(**_: Any) -> None:
    webhooks.enqueue_due()
    crons.perform_due(cron_views.begin)
