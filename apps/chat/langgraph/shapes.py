"""Rows as LangGraph's clients know them."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, CharField, OuterRef, Q, QuerySet, Subquery, Value, When
from runtime.models import ACTIVE, Assistant, AssistantVersion, Cron, Run, RunStatus, Thread, ThreadState

Row = dict[str, Any]

ENDED_BADLY = (RunStatus.ERROR, RunStatus.TIMEOUT)

# A run that waits has done its part: it is its thread that is interrupted.
STATUS = {
    RunStatus.WAITING: "success",
    RunStatus.CANCELLED: "interrupted",
}


def of_assistant(assistant: Assistant) -> Row:
    return {
        "assistant_id": str(assistant.pk),
        **_said_by(assistant),
        "version": assistant.version,
        "created_at": assistant.created_at.isoformat(),
        "updated_at": assistant.updated_at.isoformat(),
    }


def of_version(version: AssistantVersion) -> Row:
    return {
        "assistant_id": str(version.assistant_id),
        **_said_by(version),
        "version": version.number,
        "created_at": version.created_at.isoformat(),
    }


def _said_by(row: Assistant | AssistantVersion) -> Row:
    return {
        "graph_id": row.graph_id,
        "config": row.config,
        "context": row.context,
        "metadata": {"created_by": "system", **row.metadata},
        "name": row.name,
        "description": row.description,
    }


def with_status(threads: QuerySet[Thread]) -> QuerySet[Thread]:
    """With `wire_status` and `last_error`, and their states."""
    newest = Run.objects.filter(thread=OuterRef("pk")).order_by("-created_at")
    running = Q(last_run_status=RunStatus.RUNNING)
    status = Case(
        When(Q(is_waiting=True) & ~running, then=Value("interrupted")),
        When(last_run_status__in=ACTIVE, then=Value("busy")),
        When(last_run_status__in=ENDED_BADLY, then=Value("error")),
        default=Value("idle"),
        output_field=CharField(),
    )
    annotated = threads.with_status().annotate(  # type: ignore[attr-defined]
        last_error=Subquery(newest.values("error")[:1]), wire_status=status
    )
    return annotated.select_related("state")  # type: ignore[no-any-return]


def of_thread(thread: Any) -> Row:
    """Of a thread with `with_status`."""
    state: ThreadState | None = getattr(thread, "state", None)
    status = thread.wire_status
    return {
        "thread_id": str(thread.pk),
        "created_at": thread.created_at.isoformat(),
        "updated_at": thread.updated_at.isoformat(),
        "state_updated_at": (state.updated_at if state else thread.updated_at).isoformat(),
        "metadata": thread.metadata,
        "status": status,
        "config": {},
        "values": state.values if state else None,
        "error": (thread.last_error or None) if status == "error" else None,
        "interrupts": by_task(state) if state and status == "interrupted" else {},
    }


def by_task(state: ThreadState) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for interrupt in state.interrupts:
        found.setdefault(interrupt["task_id"], []).append(public(interrupt))
    return found


def public(interrupt: Row) -> Row:
    return {name: interrupt[name] for name in ("id", "value", "response_schema") if name in interrupt}


def of_state(state: ThreadState | None) -> Row:
    """The wire's ThreadState; that of a thread on which nothing ever ran has no checkpoint."""
    at = state.checkpoint if state else None
    before = state.parent_checkpoint if state else None
    return {
        "values": state.values if state else {},
        "next": state.next if state else [],
        "tasks": state.tasks if state else [],
        "metadata": state.metadata if state else {},
        "created_at": state.created_at.isoformat() if state and state.created_at else None,
        "checkpoint": at,
        "parent_checkpoint": before,
        "interrupts": [public(each) for each in state.interrupts] if state else [],
        "checkpoint_id": at and at["checkpoint_id"],
        "parent_checkpoint_id": before and before["checkpoint_id"],
    }


def of_run(run: Run) -> Row:
    options = run.options or {}
    changed = run.ended_at or run.started_at or run.created_at
    return {
        "run_id": str(run.pk),
        "thread_id": str(run.thread_id),
        "assistant_id": str(run.assistant_id),
        "created_at": run.created_at.isoformat(),
        "updated_at": changed.isoformat(),
        "status": STATUS.get(RunStatus(run.status), run.status),
        "metadata": run.metadata or {},
        "kwargs": {
            "input": run.input,
            "command": {"resume": None} if run.command else None,
            "config": run.config or {},
            "context": run.context or {},
            **{name: value for name, value in options.items() if name != "multitask_strategy"},
        },
        "multitask_strategy": options.get("multitask_strategy", "enqueue"),
    }


def outcome(run: Run, state: ThreadState | None) -> Any:
    """What waiting for a run comes to: the values, with what is asked; or what went wrong."""
    if run.status in ENDED_BADLY:
        return {"__error__": error_of(run)}
    values = state.values if state else {}
    if run.status == RunStatus.WAITING and state and isinstance(values, dict):
        return {**values, "__interrupt__": [public(each) for each in state.interrupts]}
    return values


def error_of(run: Run) -> Row:
    return {"error": run.error_type or "Error", "message": run.error}


def of_cron(cron: Cron) -> Row:
    return {
        "cron_id": str(cron.pk),
        "assistant_id": str(cron.assistant_id),
        "thread_id": str(cron.thread_id) if cron.thread_id else None,
        "on_run_completed": None if cron.thread_id else cron.on_run_completed,
        "end_time": cron.end_time.isoformat() if cron.end_time else None,
        "schedule": cron.schedule,
        "timezone": cron.timezone or None,
        "created_at": cron.created_at.isoformat(),
        "updated_at": cron.updated_at.isoformat(),
        "payload": {"assistant_id": str(cron.assistant_id), **cron.payload},
        "user_id": str(cron.owner_id),
        "next_run_date": cron.next_run_at.isoformat() if cron.next_run_at else None,
        "metadata": cron.metadata,
        "enabled": cron.is_enabled,
    }
