"""Calls that wait for a decision, made as the engine makes them: a ledger row, then `advance`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from accounts import roles
from accounts.models import User
from assistants.shop.tools import refund_order, send_email
from django.contrib.auth.models import Group, Permission
from django.db import connection, connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from runtime.models import Assistant, Message, Run, Thread, ToolCall

from apps.approvals.models import ApprovalRequest, Delegation, PolicyRule
from tests.support.calls import proposed_by

REFUND = {"order_number": 1042, "amount": "59.90", "reason": "broken"}
EMAIL = {"to": "ada@example.com", "subject": "Hello", "body": "On its way."}
SCHEMAS = {
    "refund_order": refund_order.args_schema,
    "send_email": send_email.args_schema,
}
QUEUE = "/admin/approvals/approvalrequest/"


@pytest.fixture(autouse=True)
def static_root(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise warns of a folder that `collectstatic` has not made, and a warning is an error."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def rule(bob: User) -> PolicyRule:
    """Everything sensitive waits for Approvers."""
    return PolicyRule.objects.create(
        name="all wait", verdict="ask", approvers=Group.objects.get(name="Approvers")
    )


@pytest.fixture
def ben(person: Callable[..., User]) -> User:
    """Another approver."""
    return person("ben", roles.APPROVERS, staff=True)


@pytest.fixture
def finance(db: None) -> Group:
    group = Group.objects.create(name="Finance")
    group.permissions.set(Permission.objects.filter(codename__in=["decide", "view_approvalrequest"]))
    return group


@pytest.fixture
def frank(person: Callable[..., User], finance: Group) -> User:
    """Who approves for Finance, and is no Approver."""
    return person("frank", "Finance", staff=True)


@pytest.fixture
def away(bob: User, frank: User) -> Delegation:
    """Frank decides in bob's place."""
    now = timezone.now()
    return Delegation.objects.create(
        delegator=bob, delegate=frank, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(days=1)
    )


@pytest.fixture
def proposed(assistant: Assistant) -> Callable[..., ToolCall]:
    """A call nobody has judged yet."""

    def make(user: User, tool: str = "refund_order", args: Any = None, **fields: Any) -> ToolCall:
        thread = Thread.objects.create(owner=user, assistant=assistant, title=f"{user}'s thread")
        run = Run.objects.create(thread=thread, assistant=assistant, user=user, status="waiting", input={})
        args = dict(args if args is not None else REFUND if tool == "refund_order" else EMAIL)
        given = {"args_schema": SCHEMAS.get(tool, {"type": "object"}), "sensitive": True, **fields}
        return proposed_by(run, tool, args, **given)

    return make


@pytest.fixture
def waiting(rule: PolicyRule, proposed: Callable[..., ToolCall]) -> Callable[..., ApprovalRequest]:
    """A request for permission that waits."""

    def make(user: User, *args: Any, **fields: Any) -> ApprovalRequest:
        call = proposed(user, *args, **fields)
        assert call.advance("waiting", policy=rule.name)
        return call.approval_requests.get()

    return make


@pytest.fixture
def cut_off(rule: PolicyRule, proposed: Callable[..., ToolCall]) -> Callable[..., ApprovalRequest]:
    """A request about a call whose worker died in the middle."""

    def make(user: User, *args: Any, **fields: Any) -> ApprovalRequest:
        call = proposed(user, *args, **fields)
        for state in ("approved", "running", "unknown"):
            assert call.advance(state, policy=rule.name)
        return call.approval_requests.get()

    return make


@pytest.fixture
def say() -> Callable[..., Message]:
    def make(call: ToolCall, content: str, role: str = "human") -> Message:
        return Message.objects.create(
            thread=call.thread, run=call.run, message_id=str(uuid4()), role=role, content=content
        )

    return make


@pytest.fixture
def threads_closed() -> Iterator[None]:
    """Connections opened by a test's own threads would keep the database from being dropped."""
    yield
    connections.close_all()


def fresh(request: ApprovalRequest) -> ApprovalRequest:
    """As it is by now."""
    return ApprovalRequest.objects.select_related("tool_call", "approvers", "decided_by").get(pk=request.pk)


def pass_by(request: ApprovalRequest, column: str) -> None:
    """The clock of the database passes this moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE approvals_approvalrequest SET {column} = clock_timestamp() - interval '1 second'"
            " WHERE id = %s",
            [request.pk],
        )


def page_of(request: ApprovalRequest) -> str:
    return reverse("admin:approvals_approvalrequest_change", args=[request.pk])


def decide_url(request: ApprovalRequest) -> str:
    return reverse("admin:approvals_approvalrequest_decide", args=[request.pk])


def post(client: Client, request: ApprovalRequest, decision: str, **fields: str) -> Any:
    """What the decision page's form sends, unless `fields` say otherwise."""
    data = {"decision": decision, "digest": request.tool_call.args_digest, **fields}
    return client.post(decide_url(request), data)


def edited(**changes: str) -> dict[str, str]:
    """The fields of the arguments' form, as the page shows them, with `changes`."""
    shown = {"order_number": "1042", "amount": "59.90", "reason": "broken", **changes}
    return {f"arg-{name}": value for name, value in shown.items()}


@pytest.fixture
def allow_unsafe() -> Iterator[None]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
