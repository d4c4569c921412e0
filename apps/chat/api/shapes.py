"""Rows as programs get them. All of it reads the database."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Sum
from django.urls import reverse
from runtime import decisions
from runtime.models import (
    ACTIVE,
    TOOL_TRANSITIONS,
    UNSETTLED,
    Message,
    Role,
    Run,
    RunStatus,
    Thread,
    ToolCall,
)
from runtime.schemas import RunProgress

from apps.chat.api.schemas import (
    Failure,
    PendingApproval,
    Progress,
    Reply,
    SaidMessage,
    Task,
    ToolCalls,
    Usage,
)

INTERRUPTED = "interrupted"  # what a run that waits is for who waited for its answer


def outcome(run_id: UUID) -> Reply:
    run = Run.objects.get(pk=run_id)
    last = run.messages.filter(role=Role.AI).order_by("created_at", "pk").last()
    waits = run.status == RunStatus.WAITING
    return Reply.model_validate(
        {
            "session_id": run.thread_id,
            "run_id": run.pk,
            "status": INTERRUPTED if waits else run.status,
            "answer": last.content if last else None,
            "interrupts": approvals(run.thread_id) if waits else [],
            "error": failure(run),
            "usage": Usage(input_tokens=run.input_tokens, output_tokens=run.output_tokens),
        }
    )


def failure(run: Run) -> Failure | None:
    return Failure(type=run.error_type or "Error", message=run.error) if run.error else None


def approvals(thread_id: UUID) -> list[PendingApproval]:
    """All that waits in the thread, the oldest first."""
    waiting = ToolCall.objects.filter(thread=thread_id, state__in=UNSETTLED)
    return [approval(call) for call in waiting.order_by("created_at", "position")]


def approval(call: ToolCall) -> PendingApproval:
    return PendingApproval.model_validate(
        {
            "tool_call_id": call.pk,
            "run_id": call.run_id,
            "kind": call.kind,
            "tool": call.tool,
            "args": call.args,
            "why": call.why,
            "preview": call.preview,
            "decisions": decisions.takes(call),
            "digest": call.args_digest,
            "args_schema": call.args_schema,
        }
    )


def message(row: Message) -> SaidMessage:
    return SaidMessage.model_validate(
        {
            "message_id": row.key,
            "run_id": row.run_id,
            "role": row.role,
            "text": row.content,
            "is_partial": row.is_partial,
            "created_at": row.created_at,
        }
    )


def chain(run: Run) -> list[Run]:
    """The run, and those that went on with it after a decision, the oldest first."""
    runs = [run]
    while (later := runs[-1].resumed_by.order_by("-created_at").first()) is not None:
        runs.append(later)
    return runs


def task(run: Run) -> Task:
    """`run`: the one that began it."""
    runs = chain(run)
    now = runs[-1]
    said = Message.objects.filter(run__in=runs, role=Role.AI).order_by("created_at", "pk")
    last = said.last() if now.status == RunStatus.SUCCESS else None
    used = Run.objects.filter(pk__in=[each.pk for each in runs]).aggregate(
        input_tokens=Sum("input_tokens"), output_tokens=Sum("output_tokens")
    )
    return Task.model_validate(
        {
            "task_id": run.pk,
            "session_id": run.thread_id,
            "run_id": now.pk,
            "status": now.status,
            "progress": _progress(runs, said.count()),
            "result": last.content if last else None,
            "interrupts": approvals(run.thread_id) if now.status == RunStatus.WAITING else [],
            "error": failure(now),
            "usage": Usage(**used),
            "created_at": run.created_at,
            "started_at": run.started_at,
            "ended_at": None if now.status in {*ACTIVE, RunStatus.WAITING} else now.ended_at,
            "events": reverse("api-1:follow_session", args=[run.thread_id]),
        }
    )


def _progress(runs: Sequence[Run], messages: int) -> Progress:
    states = list(ToolCall.objects.filter(run__in=runs).values_list("state", flat=True))
    calls = ToolCalls(
        total=len(states),
        done=sum(state not in TOOL_TRANSITIONS for state in states),
        waiting=sum(state in UNSETTLED for state in states),
    )
    counted = next((run.progress for run in reversed(runs) if run.progress), None)
    return Progress(
        steps=counted["total"] if counted else None,
        steps_done=counted["done"] if counted else None,
        tool_calls=calls,
        messages=messages,
        fraction=_fraction(runs[-1], counted),
    )


def _fraction(run: Run, counted: RunProgress | None) -> float | None:
    if run.status == RunStatus.SUCCESS:
        return 1.0
    return round(counted["done"] / counted["total"], 2) if counted and counted["total"] else None


def live_runs(thread: Thread) -> list[Run]:
    return list(thread.runs.filter(status__in=ACTIVE).order_by("created_at"))
