"""What must be true of the audit. `manage.py verify_invariants` looks."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, Min, OuterRef, TextField, Value
from django.db.models.functions import Cast, Concat

from runtime.audit import chain
from runtime.audit.models import AuditEvent
from runtime.audit.verify_export import Broken
from runtime.invariants import check
from runtime.models import TOOL_TRANSITIONS, ToolCall


@check("audit-broken")
def _broken_chain() -> Iterator[tuple[str, str]]:
    try:
        chain.check()
    except Broken as broken:
        yield f"audit event {broken.seq}", str(broken)


@check("call-not-audited")
def _unaudited_calls() -> Iterator[tuple[str, str]]:
    """Calls that are older than the audit have no events."""
    begins = AuditEvent.objects.aggregate(at=Min("at"))["at"]
    if begins is None:
        return
    told = AuditEvent.objects.filter(
        subject_kind="tool_call", subject_id=Cast(OuterRef("pk"), TextField()), seq__isnull=False
    )
    settled = ToolCall.objects.exclude(state__in=TOOL_TRANSITIONS).filter(created_at__gt=begins)
    proposed = told.filter(action="tool_call.proposed")
    ended = told.filter(action=Concat(Value("tool_call."), OuterRef("state"), output_field=TextField()))
    for pk, state in settled.exclude(Exists(proposed), Exists(ended)).values_list("pk", "state"):
        yield f"tool call {pk}", f"is {state}, but the audit does not tell how."
