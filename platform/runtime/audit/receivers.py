"""What of the engine and of people is audited, in the transaction that changes it."""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Any

from accounts.models import ApiKey, Identity, TokenFamily, User
from accounts.signals import (
    factor_changed,
    identity_linked,
    key_created,
    key_revoked,
    key_rotated,
    sign_in_refused,
    token_reused,
)
from axes.signals import user_locked_out
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.dispatch import receiver

from runtime import signals
from runtime.audit import chain
from runtime.audit.following import follow
from runtime.audit.record import append, kind_of
from runtime.audit.verify_export import Broken
from runtime.models import (
    Assistant,
    Budget,
    Cron,
    ModelPrice,
    Run,
    RunStatus,
    Thread,
    ToolCall,
    ToolState,
)
from runtime.retention import threads_expiring

logger = logging.getLogger(__name__)

NAME_LIMIT = 150  # characters of a name that somebody tried

# What of a call an event of this state is about. Arguments, results and errors are in the ledger; the chain holds their
# digests, so that personal data goes with its thread and the proof of what it was stays.
_TOLD: dict[str, tuple[str, ...]] = {
    ToolState.WAITING: ("policy", "decision"),
    ToolState.APPROVED: ("policy", "decision", "args_digest"),
    ToolState.DENIED: ("policy",),
    ToolState.REJECTED: ("decision",),
    ToolState.RESPONDED: ("decision",),
    ToolState.CANCELLED: ("decision",),
    ToolState.RUNNING: ("args_digest",),
}
_OF_A_PERSON = {ToolState.APPROVED, ToolState.REJECTED, ToolState.RESPONDED}


def follow_people() -> None:
    """Rights and how somebody signs in. Who they are otherwise is their own business."""
    follow(
        User,
        exclude=(
            "last_login",
            "date_joined",
            "first_name",
            "last_name",
            "factor",
        ),  # of the last: factor_changed
        hidden=("password", "email"),
    )
    follow(Group)


def follow_money() -> None:
    follow(Budget)
    follow(ModelPrice)


def follow_what_is_run() -> None:
    follow(Assistant, exclude=("description_of_graph",), hidden=("sealed",))
    follow(
        Cron,
        exclude=("next_run_at", "problem"),
        hidden=("payload", "metadata", "sealed", "sealed_webhook"),
    )


# Tool calls and runs


@receiver(post_save, sender=ToolCall)
def audit_proposal(instance: ToolCall, created: bool, **_: Any) -> None:
    if created:
        after = {
            "tool": instance.tool,
            "args_digest": instance.args_digest,
            "sensitive": instance.sensitive,
            "effect": instance.effect,
            "assistant": str(instance.assistant_id),
            "run": str(instance.run_id),
            "requester": str(instance.user_id),
        }
        append("tool_call.proposed", subject=instance, after=after, thread_id=instance.thread_id)


@receiver(signals.tool_call_changed)
def audit_tool_call(tool_call: ToolCall, **_: Any) -> None:
    told = {name: getattr(tool_call, name) for name in _TOLD.get(tool_call.state, ())}
    if tool_call.state in (ToolState.DONE, ToolState.RESPONDED):
        told["result_digest"] = _digest(tool_call.result)
    if tool_call.state in (ToolState.FAILED, ToolState.UNKNOWN):
        told["error_digest"] = _digest(tool_call.error)
    append(
        f"tool_call.{tool_call.state}",
        subject=tool_call,
        actor=_decider(tool_call),
        after={"state": tool_call.state, **{name: value for name, value in told.items() if value}},
        reason=tool_call.reason if tool_call.state in _WITH_REASON else "",
        thread_id=tool_call.thread_id,
    )


_WITH_REASON = {*_OF_A_PERSON, ToolState.WAITING, ToolState.DENIED, ToolState.CANCELLED}


def _decider(tool_call: ToolCall) -> User | None:
    """Who decided, where this change is their decision; None: whoever acts."""
    by_decision = {(ToolState.FAILED, "reject"), (ToolState.CANCELLED, "withdraw")}
    is_decided = tool_call.state in _OF_A_PERSON or (tool_call.state, tool_call.decision) in by_decision
    return tool_call.decided_by if is_decided else None


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest() if text else ""


@receiver(signals.run_changed)
def audit_run(run: Run, **_: Any) -> None:
    """Its beginning and its being stopped; how it went on is in its own row."""
    if run.status == RunStatus.PENDING and run.attempt == 0:
        after = {"assistant": str(run.assistant_id), "requester": str(run.user_id)}
        if run.resumes_id:
            after["resumes"] = str(run.resumes_id)
        append("run.created", subject=run, after=after, thread_id=run.thread_id)
    elif run.status == RunStatus.CANCELLED:
        append("run.cancelled", subject=run, after={"status": run.status}, thread_id=run.thread_id)


@receiver(threads_expiring)
def audit_forgetting(threads: QuerySet[Thread], **_: Any) -> None:
    ids = sorted(str(pk) for pk in threads.values_list("pk", flat=True))
    append("thread.forgotten", subject=("thread", ids[0] if len(ids) == 1 else ""), before={"threads": ids})


# People at the door


@receiver(user_logged_in)
def audit_sign_in(user: User, **_: Any) -> None:
    append("user.signed_in", subject=user, actor=user)


@receiver(user_logged_out)
def audit_sign_out(user: User | None, **_: Any) -> None:
    if user is not None:
        append("user.signed_out", subject=user, actor=user)


@receiver(user_login_failed)
def audit_failure(credentials: dict[str, Any], **_: Any) -> None:
    append(
        "user.sign_in_failed",
        subject=(kind_of(User), ""),
        after={"name": _tried(credentials.get("username"))},
    )


@receiver(user_locked_out)
def audit_lock_out(username: str | None = None, **_: Any) -> None:
    append("user.locked_out", subject=(kind_of(User), ""), after={"name": _tried(username)})


@receiver(factor_changed)
def audit_factor(user: User, change: str, **_: Any) -> None:
    """Who resets another's acts; all else a person does to their own, maybe before they are signed in."""
    append(f"factor.{change}", subject=user, actor=None if change == "reset" else user)


@receiver(identity_linked)
def audit_identity(identity: Identity, **_: Any) -> None:
    after = {"issuer": identity.issuer, "subject": identity.subject}
    append("user.identity_linked", subject=identity.user, actor=identity.user, after=after)


@receiver(sign_in_refused)
def audit_refusal(name: str, why: str, **_: Any) -> None:
    append("user.sign_in_failed", subject=(kind_of(User), ""), after={"name": _tried(name), "why": why})


def _tried(name: object) -> str:
    return str(name or "")[:NAME_LIMIT]


# Keys and tokens of programs


@receiver(key_created)
def audit_key(key: ApiKey, **_: Any) -> None:
    append("key.created", subject=key, after=_told_of(key))


@receiver(key_rotated)
def audit_rotation(key: ApiKey, successor: ApiKey, **_: Any) -> None:
    key.refresh_from_db(fields=["expires_at"])
    before = {"prefix": key.prefix, "works_until": key.expires_at}
    append("key.rotated", subject=key, before=before, after=_told_of(successor))


@receiver(key_revoked)
def audit_revocation(key: ApiKey, **_: Any) -> None:
    append("key.revoked", subject=key, before=_told_of(key))


@receiver(token_reused)
def audit_reuse(family: TokenFamily, **_: Any) -> None:
    append("token.reused", subject=family.owner, after={"signed_in_at": family.created_at})


def _told_of(key: ApiKey) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "owner": str(key.owner_id),
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
    }


# The head, outside the database


@receiver(signals.reconciling)
def anchor(**_: Any) -> None:
    try:
        chain.drop_anchor()
    except (OSError, DatabaseError, Broken):
        logger.exception("audit not anchored", extra={"action": "audit_not_anchored"})
