"""What happened in a run, step by step, read back from the rows it left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _
from runtime import ledger
from runtime.models import Message, Run, ToolCall, ToolState


@dataclass(frozen=True)
class Step:
    at: datetime
    event: str
    """A machine's word for it."""
    text: str
    """A person's words for it; may hold what a model wrote."""
    run: UUID


def chain_of(run: Run) -> list[Run]:
    """The runs of one turn, first to last: the run, those it resumes, those that resume it."""
    known = list(
        Run.objects.filter(thread=run.thread_id).select_related("user", "assistant").order_by("created_at")
    )
    linked = {run.pk}
    for other in reversed(known):  # back to the first
        if other.pk in linked and other.resumes_id:
            linked.add(other.resumes_id)
    for other in known:  # and on to the last
        if other.resumes_id in linked:
            linked.add(other.pk)
    return [other for other in known if other.pk in linked]


def steps_of(runs: Iterable[Run]) -> list[Step]:
    """All steps of these runs of one turn, by time."""
    runs = list(runs)
    turn = chain_of(runs[0]) if runs else []
    place = {run.pk: number for number, run in enumerate(turn)}
    found = [step for run in runs for step in (*_lifecycle(run), *_messages(run))]
    for call in _calls_of(turn):
        # A call moves to the run that executes it: each step is told under the run it happened in.
        found += [Step(at, event, text, _run_at(at, turn)) for at, event, text in _life_of(call)]
    wanted = {run.pk for run in runs}
    # A decision and the run it wakes have the same instant: the earlier run tells its steps first.
    return sorted((step for step in found if step.run in wanted), key=lambda step: (step.at, place[step.run]))


def _lifecycle(run: Run) -> Iterator[Step]:
    asked = _("resumed for %(person)s") if run.resumes_id else _("asked for by %(person)s")
    yield Step(run.created_at, "run_created", asked % {"person": run.user.get_username()}, run.pk)
    if run.started_at:
        worker = _("claimed by %(worker)s (attempt %(attempt)s)") % {
            "worker": run.worker or "?",
            "attempt": run.attempt,
        }
        yield Step(run.started_at, "run_claimed", worker, run.pk)
    if run.cancel_requested_at:
        yield Step(run.cancel_requested_at, "stop_asked", _("stop asked for"), run.pk)
    if run.ended_at:
        yield Step(run.ended_at, "run_ended", _end_of(run), run.pk)


def _end_of(run: Run) -> str:
    tokens = _("%(input)s tokens in, %(output)s out") % {
        "input": run.input_tokens,
        "output": run.output_tokens,
    }
    error = f": {run.error_type}: {run.error}" if run.error else ""
    return f"{run.get_status_display()}{error} ({tokens})"


def _messages(run: Run) -> Iterator[Step]:
    for message in Message.objects.filter(run=run):
        cut = _(" (cut off)") if message.is_partial else ""
        text = f"{message.get_role_display()}{cut}: {message.content}"
        yield Step(message.created_at, "message", text, run.pk)


def _calls_of(turn: list[Run]) -> Iterable[ToolCall]:
    return ToolCall.objects.filter(run__in=turn).select_related("decided_by").order_by("created_at")


def _life_of(call: ToolCall) -> Iterator[tuple[datetime, str, str]]:
    yield call.created_at, "tool_call_proposed", f"{call.tool} {ledger.canonical(call.proposed_args)}"
    yield call.created_at, "tool_call_judged", _judgement(call)
    if call.decided_at:
        yield call.decided_at, "tool_call_decided", _decision(call)
    if call.started_at:
        edited = f" {ledger.canonical(call.args)}" if call.is_edited else ""
        yield call.started_at, "tool_call_started", f"{call.tool}{edited}"
    if call.finished_at:
        outcome = call.error or call.result
        yield call.finished_at, f"tool_call_{call.state}", f"{call.get_state_display()}: {outcome}"


def _judgement(call: ToolCall) -> str:
    if call.state == ToolState.DENIED:
        return _("denied by policy (%(rule)s): %(why)s") % {"rule": call.policy, "why": call.reason}
    if call.decided_at or call.state == ToolState.WAITING:
        return _("waits for a decision (%(rule)s)") % {"rule": call.policy}
    return _("allowed (%(rule)s)") % {"rule": call.policy}


def _decision(call: ToolCall) -> str:
    by = call.decided_by.get_username() if call.decided_by else _("nobody")
    reason = f": {call.reason}" if call.reason else ""
    return f"{call.decision or call.get_state_display()} ({by}){reason}"


def _run_at(at: datetime, turn: list[Run]) -> UUID:
    """The newest run of the turn that was there before that moment."""
    return max(
        (run for run in turn if run.created_at < at), key=lambda run: run.created_at, default=turn[0]
    ).pk


def printable(text: str) -> str:
    """Without control characters: what a model wrote must not steer the terminal it is printed on."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
