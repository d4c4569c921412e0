"""The ledger of tool calls: a row before anything runs, and the recorded result in place of a second execution.

Each function is one transaction, fenced by the run's lease where the worker writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple, cast

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from runtime import masking, policy, seal
from runtime.exceptions import LeaseLost
from runtime.models import HOLDS_INPUT, UNSETTLED, CallKind, Effect, Run, ToolCall, ToolState

RESULT_LIMIT = 256 * 1024  # characters that are kept of a result, or of an error
PREVIEW_LIMIT = 4000  # characters that are kept of a preview


def canonical(args: dict[str, Any]) -> str:
    """The one text of these arguments: sorted keys, no spaces. ValueError for NaN and infinities."""
    return json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(args: dict[str, Any]) -> str:
    return sha256(canonical(args).encode("utf-8", "surrogatepass")).hexdigest()


class Preview(NamedTuple):
    """What a tool says that a call of it would do."""

    text: str = ""
    error: str = ""
    """Why there is no text."""


NO_PREVIEW = Preview()


@dataclass(frozen=True)
class Proposal:
    """A call as the model made it, before anybody looked at it."""

    task_id: str
    call_id: str
    tool: str
    args: dict[str, Any]
    args_schema: dict[str, Any]
    sensitive: bool
    effect: str
    why: str
    preview: Preview = NO_PREVIEW
    kind: str = CallKind.CALL
    position: int = 0
    takes: tuple[str, ...] = ()
    flaw: str = ""
    """Why nobody can be asked about it; it is denied then."""
    sealed: str = ""
    """What stood in the arguments in the place of each mark."""

    def __post_init__(self) -> None:
        """Whoever makes one, its secrets are masked: no row, page or digest is made of anything else."""
        args, values = masking.taken(self.args, self.secret_names)
        if values:
            object.__setattr__(self, "args", args)
            object.__setattr__(self, "sealed", masking.kept(values, with_=self.sealed))

    @property
    def secret_names(self) -> frozenset[str]:
        return masking.secret_names(self.args_schema)

    @property
    def true_args(self) -> dict[str, Any]:
        """As the model wrote them."""
        return cast(dict[str, Any], masking.opened(self.args, self.sealed))

    @property
    def digest(self) -> str:
        return digest({"tool": self.tool, "args": self.args})

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it this call, in its thread."""
        return self.task_id, self.call_id, self.digest


def with_secrets_of_thread(run: Run, proposal: Proposal) -> Proposal:
    """What a person said in the thread and the model was shown the mark of, where the tool declares a secret argument.

    Nowhere else: what the model never saw must not leave in the text of a mail.
    """
    declared = {name: proposal.args[name] for name in proposal.secret_names if name in proposal.args}
    others = {name: value for name, value in proposal.args.items() if name not in declared}
    said = Run.objects.filter(thread=run.thread_id).exclude(sealed="").order_by("created_at")
    known: masking.Values = {}
    for sealed in said.values_list("sealed", flat=True):
        known |= masking.values_of(sealed)
    args = {
        **proposal.true_args,
        **{name: masking.put_back(value, known) for name, value in declared.items()},
    }
    found = replace(proposal, args=args)
    leaks = masking.marks_in(others) & (
        set(masking.values_of(found.sealed)) - set(masking.values_of(proposal.sealed))
    )
    return proposal if leaks else found


def is_known(run: Run, proposal: Proposal) -> bool:
    """Whether the call has its row already: it was proposed, and goes on."""
    task_id, call_id, proposed_digest = proposal.key
    known = ToolCall.objects.filter(thread=run.thread_id, task_id=task_id, call_id=call_id)
    return known.filter(proposed_digest=proposed_digest).exists()


@transaction.atomic
def enter(run: Run, proposal: Proposal) -> tuple[ToolCall, bool]:
    """The row of this call, and whether it was just begun: an approved one is, in the same round trip."""
    run.hold()
    tool_call, _ = found_or_made(run, proposal)
    return tool_call, tool_call.state == ToolState.APPROVED and _use_permit(run, tool_call)


def found_or_made(run: Run, proposal: Proposal) -> tuple[ToolCall, bool]:
    """Made and judged at the first sight of the call, found as it stands ever after; and whether it is new."""
    tool_call, is_new = ToolCall.objects.select_related("assistant", "decided_by").get_or_create(
        thread_id=run.thread_id,
        task_id=proposal.task_id,
        call_id=proposal.call_id,
        proposed_digest=proposal.digest,
        defaults={
            "run": run,
            "user_id": run.user_id,
            "assistant_id": run.assistant_id,
            "tool": proposal.tool,
            "sensitive": proposal.sensitive,
            "effect": proposal.effect,
            "why": masking.mask(proposal.why),
            "preview": kept(proposal.preview.text, PREVIEW_LIMIT),
            "preview_error": kept(proposal.preview.error, PREVIEW_LIMIT),
            "proposed_args": proposal.args,
            "args": proposal.args,
            "args_digest": digest(proposal.args),
            "args_schema": proposal.args_schema,
            "sealed": proposal.sealed,
            "kind": proposal.kind,
            "interrupt_id": "" if proposal.kind == CallKind.CALL else proposal.task_id,
            "position": proposal.position,
            "takes": list(proposal.takes),
        },
    )
    if is_new and proposal.flaw:
        tool_call.advance(ToolState.DENIED, reason=proposal.flaw)
    elif is_new:
        _judge(tool_call)
    return tool_call, is_new


def _judge(tool_call: ToolCall) -> None:
    verdict = policy.judge(tool_call)
    state = {"allow": ToolState.APPROVED, "ask": ToolState.WAITING}.get(verdict.kind, ToolState.DENIED)
    tool_call.advance(state, policy=verdict.rule, reason=verdict.reason)


@transaction.atomic
def begin(run: Run, tool_call: ToolCall) -> bool:
    """Approved becomes running, once. False when the state is another by now."""
    run.hold()
    tool_call.refresh_from_db(fields=["state", "args", "args_digest", "sealed", "decided_by"])
    return tool_call.state == ToolState.APPROVED and _use_permit(run, tool_call)


def _use_permit(run: Run, tool_call: ToolCall) -> bool:
    """An approval that no longer stands (the approver was deactivated, the rule changed) is asked for again; where
    the policy denies the call by now, it is denied.
    """
    return _stands(tool_call) and tool_call.advance(ToolState.RUNNING, started_at=Now(), run=run)


def _stands(tool_call: ToolCall) -> bool:
    """Whether what was approved may still run; if not, the call waits anew or is denied."""
    if not (is_whole := _is_whole(tool_call)):
        objection = "A secret of it can't be opened any more. Ask again."
    elif digest(tool_call.args) != tool_call.args_digest:
        objection = "The arguments are not those that were reviewed."
    else:
        objection = policy.objection(tool_call)
    if objection:
        void = {"decision": "", "decided_by": None, "decided_at": None}
        denied = not is_whole or policy.judge(tool_call).kind == "deny"
        tool_call.advance(ToolState.DENIED if denied else ToolState.WAITING, reason=objection, **void)
    return not objection


def _is_whole(tool_call: ToolCall) -> bool:
    """Whether what is masked in its arguments is still there: SECRET_KEY may be another since, or the row forged."""
    try:
        values = masking.values_of(tool_call.sealed)
    except (seal.Unreadable, ValueError):
        return False
    return all(masking.is_of(mark, value) for mark, value in values.items())


def is_decided(actions: Sequence[ToolCall]) -> bool:
    """Whether nothing is open any more about the actions of one interrupt. What no longer stands waits anew.

    Called in a transaction that holds the run; nobody takes an approval back until that ends.
    """
    if any(action.state in UNSETTLED for action in actions):
        return False
    for action in actions:
        if action.state == ToolState.APPROVED and _is_held(action):
            _stands(action)
    return not any(action.state in UNSETTLED for action in actions)


def _is_held(action: ToolCall) -> bool:
    approved = ToolCall.objects.filter(pk=action.pk, state=ToolState.APPROVED)
    is_held = approved.select_for_update(no_key=True).exists()
    action.refresh_from_db(fields=["state", "args", "args_digest", "sealed"])
    return is_held


def hand_over(actions: Sequence[ToolCall]) -> None:
    """The graph is told what was decided: what was approved is its own to do, once."""
    for action in actions:
        if action.state == ToolState.APPROVED and action.advance(ToolState.RUNNING, started_at=Now()):
            action.advance(ToolState.DONE, finished_at=Now())


@transaction.atomic
def begin_again(run: Run, tool_call: ToolCall) -> bool:
    """A call found running belonged to a worker that died. True when it may simply run once more."""
    run.hold()
    tool_call.refresh_from_db(fields=["state", "args", "args_digest", "sealed", "effect"])
    if tool_call.state != ToolState.RUNNING:
        return False
    is_reviewed = digest(tool_call.args) == tool_call.args_digest and _is_whole(tool_call)
    if is_reviewed and tool_call.effect in (Effect.NONE, Effect.IDEMPOTENT):
        return True
    tool_call.advance(
        ToolState.UNKNOWN, error="The worker stopped in the middle of this call.", finished_at=Now()
    )
    return False


@transaction.atomic
def finish(tool_call: ToolCall, state: str, *, result: str = "", error: str = "") -> None:
    """Records how a running call ended. Not fenced: what happened happened, whoever owns the run by now."""
    tool_call.advance(state, finished_at=Now(), result=kept(result), error=kept(error))


def kept(text: str, limit: int = RESULT_LIMIT) -> str:
    """As much as is kept of what a tool said, without secrets, NUL and halves of characters."""
    text = masking.mask(text)
    if len(text) > limit:
        text = f"{text[:limit]}\n[cut: {len(text)} characters in all]"
    return storable(text)


def storable(text: str) -> str:
    """Without what PostgreSQL can't hold."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@transaction.atomic
def give_up(run: Run, tool_call: ToolCall, error: str) -> None:
    """A running call whose end nobody knows. Only for the run's owner: another attempt may be at it again."""
    try:
        run.hold()
    except LeaseLost:
        return
    state = ToolState.FAILED if tool_call.effect == Effect.NONE else ToolState.UNKNOWN
    tool_call.advance(state, finished_at=Now(), error=kept(error))


def abandon(run: Run) -> None:
    """The turn ends; of its tool calls, what was not begun is cancelled, and how the rest ended is not known.

    Called in the transaction that ends the run, so that neither a question nor an approval outlives its turn.
    """
    waits, runs = Q(thread=run.thread_id, state__in=HOLDS_INPUT), Q(run=run, state=ToolState.RUNNING)
    for tool_call in ToolCall.objects.filter(waits | runs):
        if tool_call.state == ToolState.RUNNING:
            give_up(run, tool_call, "The turn ended while it ran.")
        else:
            tool_call.advance(ToolState.CANCELLED, reason="The turn ended before it ran.", finished_at=Now())
