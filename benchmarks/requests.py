"""Requests that wait, for a benchmark: `python -m benchmarks.requests USERNAME COUNT`, printed as JSON.

COUNT waiting requests of USERNAME, and four times as many that were decided, over a hundred threads: a queue that has
been in use for long.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from accounts.models import User
    from runtime.models import Run, ToolCall

    from apps.approvals.models import ApprovalRequest, PolicyRule

ROOT = Path(__file__).resolve().parents[1]
THREADS = 100
DECIDED = 4  # for each that waits
REASON = "The jug came broken, and the customer has sent a picture of it. " * 4


def make(username: str, count: int) -> int:
    """How many wait by then."""
    from accounts.models import User
    from runtime.models import ToolCall

    from apps.approvals.models import ApprovalRequest, PolicyRule

    user, bob = (User.objects.get(username=name) for name in (username, "bob"))
    rule = PolicyRule.objects.filter(verdict="ask").exclude(approvers=None)[0]
    runs = list(_runs(user))
    calls = [_call(runs[number % THREADS], number, count) for number in range(count * (1 + DECIDED))]
    ToolCall.objects.bulk_create(calls, batch_size=1000)
    ApprovalRequest.objects.bulk_create(
        [_request(call, number, rule, bob) for number, call in enumerate(calls)], batch_size=1000
    )
    return ApprovalRequest.objects.filter(status="pending").count()


def _runs(user: User) -> Iterator[Run]:
    from runtime.models import Assistant, Run, Thread

    assistant = Assistant.objects.get(graph_id="shop")
    for number in range(THREADS):
        thread = Thread.objects.create(owner=user, assistant=assistant, title=f"Thread {number}")
        yield Run.objects.create(thread=thread, assistant=assistant, user=user, status="success", input={})


def _call(run: Run, number: int, waiting: int) -> ToolCall:
    from assistants.shop.tools import TOOLS
    from django.utils import timezone
    from runtime import ledger
    from runtime.models import ToolCall

    tool = next(tool for tool in TOOLS if tool.name == "refund_order")
    args = {"order_number": number, "amount": "1.00", "reason": REASON}
    waits = number < waiting
    at = timezone.now() - timedelta(minutes=number + 1)
    return ToolCall(
        thread_id=run.thread_id,
        run=run,
        user_id=run.user_id,
        assistant_id=run.assistant_id,
        task_id=str(uuid4()),
        call_id=str(uuid4()),
        tool=tool.name,
        sensitive=True,
        effect=tool.effect,
        # A call that waits, but that no turn waits for: it is only looked at.
        state="waiting" if waits else "done",
        why=REASON,
        proposed_args=args,
        args=args,
        args_digest=ledger.digest(args),
        args_schema=tool.args_schema,
        created_at=at,
        finished_at=None if waits else at,
        result="" if waits else "Refunded.",
    )


def _request(call: ToolCall, number: int, rule: PolicyRule, bob: User) -> ApprovalRequest:
    from django.utils import timezone

    from apps.approvals.models import ApprovalRequest

    waits = call.state == "waiting"
    expires = timezone.now() + timedelta(days=1, minutes=number)
    return ApprovalRequest(
        tool_call=call,
        question="permission",
        rule=rule,
        approvers=rule.approvers,
        risk=1 + number % 3,
        status="pending" if waits else "approved",
        decided_by=None if waits else bob,
        decided_at=None if waits else call.finished_at,
        expires_at=expires if number % 2 else None,
        created_at=call.created_at,
    )


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    username, count = sys.argv[1:]
    print(json.dumps(make(username, int(count))))


if __name__ == "__main__":
    main()
