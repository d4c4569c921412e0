"""What the requester may know of a request that waits: who decides, as a group; never the names of its members."""

from __future__ import annotations

from runtime.decisions import Asked
from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest, RequestStatus


def asked(tool_call: ToolCall) -> Asked | None:
    waiting = ApprovalRequest.objects.filter(tool_call=tool_call, status=RequestStatus.PENDING)
    found = waiting.values_list("approvers__name", "created_at", "expires_at").first()
    return Asked(found[0] or "", found[1], found[2]) if found else None
