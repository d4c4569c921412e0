"""A decision as the service writes it, for tests that are about what comes after: vote, request, call."""

from __future__ import annotations

from typing import Any

from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest, RequestStatus, Vote, Way

VERDICTS = {"approved": "approve", "rejected": "reject", "responded": "respond"}


def decided(call: ToolCall, state: str, **fields: Any) -> bool:
    """Moves a call that waits, by the word of `decided_by`; without one, of the person who asked."""
    by = fields.setdefault("decided_by", call.user)
    via = Way.CONFIRM if by == call.user else Way.RULE
    request = ApprovalRequest.objects.get(tool_call=call, status=RequestStatus.PENDING)
    Vote.objects.create(
        request=request,
        voter=by,
        principal=by,
        verdict=VERDICTS[state],
        via=via,
        args_digest=fields.get("args_digest", call.args_digest),
    )
    return request.close(state, decided_by=by, via=via) and call.advance(state, **fields)
