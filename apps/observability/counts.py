"""What the counters count: rows that have come to their end, so that no number ever goes down."""

from __future__ import annotations

from django.db.models import Count, QuerySet, Sum
from runtime.models import ACTIVE, TOOL_TRANSITIONS, Run, RunStatus, ToolCall, ToolState

from apps.observability.models import Forgotten

ENDED = [status for status in RunStatus.values if status not in ACTIVE]
SETTLED = [state for state in ToolState.values if state not in TOOL_TRANSITIONS]

# series -> label -> how many
Counts = dict[str, dict[str, int]]


def of(runs: QuerySet[Run], calls: QuerySet[ToolCall]) -> Counts:
    """The counts of these rows."""
    sums = (Count("pk"), Sum("input_tokens"), Sum("output_tokens"))
    ended = list(runs.filter(status__in=ENDED).order_by().values_list("status").annotate(*sums))
    settled = calls.filter(state__in=SETTLED).order_by().values_list("state").annotate(Count("pk"))
    decided = calls.exclude(decision="").order_by().values_list("decision").annotate(Count("pk"))
    return {
        "agent_runs": {row[0]: row[1] for row in ended},
        "agent_tokens": {"input": sum(row[2] for row in ended), "output": sum(row[3] for row in ended)},
        "agent_tool_calls": dict(settled),
        "agent_approval_decisions": dict(decided),
    }


def all_time() -> Counts:
    """The counts of the rows there are and of those that were deleted."""
    counted = of(Run.objects.all(), ToolCall.objects.all())
    for series, label, count in Forgotten.objects.values_list("series", "label", "count"):
        counted[series][label] = counted[series].get(label, 0) + count
    return counted
