"""Before rows are deleted, their numbers go where the metrics find them."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from django.dispatch import receiver
from runtime.models import Run, Thread, ToolCall
from runtime.retention import threads_expiring

from apps.observability import counts
from apps.observability.models import Forgotten


@receiver(threads_expiring)
def remember_counts(threads: QuerySet[Thread], **_: Any) -> None:
    runs = Run.objects.filter(thread__in=threads)
    calls = ToolCall.objects.filter(thread__in=threads)
    for series, by_label in counts.of(runs, calls).items():
        for label, count in by_label.items():
            _add(series, label, count)


def _add(series: str, label: str, count: int) -> None:
    if count:
        Forgotten.objects.get_or_create(series=series, label=label)
        Forgotten.objects.filter(series=series, label=label).update(count=F("count") + count)
