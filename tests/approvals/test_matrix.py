"""Every door times every kind of person: who gets in, who is turned away, and that nothing else decides.

The table in docs/approvals.md is this test's; `WRITE_TABLES=1` writes it anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts import roles, tokens
from accounts.models import User
from accounts.scopes import Scope
from channels.testing import WebsocketCommunicator
from config.asgi import application
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from runtime import decisions, hub
from runtime.exceptions import RuntimeRefusal
from runtime.models import ThreadState

from apps.approvals.models import ApprovalRequest, Delegation, PolicyRule
from tests.approvals.conftest import QUEUE, page_of, post
from tests.support.programs import Program, key_of

PAGE = Path(__file__).resolve().parents[2] / "docs/approvals.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"

DECIDES, SEES, REFUSED, SIGN_IN = "decides", "sees only", "refused", "to the sign-in"
UNKNOWN = "not known"  # 401

# What each kind of person is, and whether they may decide and see. Written by hand: it is what must hold.
PEOPLE: dict[str, tuple[str, bool, bool]] = {
    "requester": ("who asked, an approver too", False, True),
    "approver": ("member of the group that is asked", True, True),
    "wrong group": ("approver in another group", False, True),
    "delegate": ("stands in for an approver", True, True),
    "past delegate": ("stood in until yesterday", False, True),
    "deactivated": ("an approver, switched off", False, False),
    "view-only staff": ("auditor", False, True),
    "superuser": ("in no group", False, True),
    "chat user": ("no staff", False, False),
    "anonymous": ("not signed in", False, False),
}


@pytest.fixture
def people(person: Callable[..., User], bob: User) -> dict[str, User]:
    others = Group.objects.create(name="Others")
    others.permissions.set(Permission.objects.filter(codename__in=["decide", "view_approvalrequest"]))
    made = {
        "requester": person("requester", roles.APPROVERS, staff=True),
        "approver": person("approver", roles.APPROVERS, staff=True),
        "wrong group": person("wrong", "Others", staff=True),
        "delegate": person("delegate", "Others", staff=True),
        "past delegate": person("past", "Others", staff=True),
        "deactivated": person("gone", roles.APPROVERS, staff=True),
        "view-only staff": person("viewer", roles.AUDITORS, staff=True),
        "superuser": person("root", staff=True, superuser=True),
        "chat user": person("chatter", roles.CHAT_USERS),
    }
    day = timedelta(days=1)
    for name, ends in {"delegate": day, "past delegate": -day}.items():
        now = timezone.now()
        Delegation.objects.create(
            delegator=bob, delegate=made[name], starts_at=now - 2 * day, ends_at=now + ends
        )
    return made


def browser(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        if user.username == "gone":  # with a session from before
            User.objects.filter(pk=user.pk).update(is_active=False)
    return client


def read(answer: Any, *, shows: str) -> str:
    if answer.status_code == 302:
        return SIGN_IN if "/login/" in answer["Location"] else DECIDES
    if answer.status_code in (403, 404):
        return REFUSED
    return DECIDES if shows in answer.content.decode() else SEES


def the_list(user: User | None, request: ApprovalRequest) -> str:
    answer = browser(user).get(f"{QUEUE}?status=all&mine=yes")
    return read(answer, shows=str(request.pk))


def the_page(user: User | None, request: ApprovalRequest) -> str:
    """Also what a link in an e-mail opens: it decides nothing."""
    return read(browser(user).get(page_of(request)), shows='id="decide-heading"')


def a_post(user: User | None, request: ApprovalRequest) -> str:
    return read(post(browser(user), request, "approve"), shows="\0")


def the_bulk_action(user: User | None, request: ApprovalRequest) -> str:
    data = {
        "action": "approve_selected",
        "_selected_action": [str(request.pk)],
        "confirmed": "yes",
        f"digest-{request.pk}": request.tool_call.args_digest,
    }
    answer = browser(user).post(QUEUE, data)
    if answer.status_code == 302 and "/login/" not in answer["Location"]:
        request.refresh_from_db()
        return SEES if request.is_pending else DECIDES  # told why not, on the list
    return read(answer, shows="\0")


def the_port(user: User | None, request: ApprovalRequest) -> str:
    """What the chat page and every API call."""
    try:
        decisions.decide(user or AnonymousUser(), request.tool_call_id, {"type": "approve"})  # type: ignore[arg-type]
    except (RuntimeRefusal, User.DoesNotExist):
        return REFUSED
    return DECIDES


def the_command(user: User | None, request: ApprovalRequest) -> str:
    try:
        call_command("decide", str(request.pk), "approve", "--as", user.username if user else "nobody")
    except CommandError:
        return REFUSED
    return DECIDES


def answered(answer: Any) -> str:
    return {200: DECIDES, 401: UNKNOWN, 403: REFUSED, 404: REFUSED}[answer.status_code]


def credential(user: User | None, make: Callable[[User], str]) -> str:
    """Of somebody deactivated: from before, when they could still have one."""
    if user is None:
        return ""
    was_active, user.is_active = user.is_active, True
    User.objects.filter(pk=user.pk).update(is_active=True)
    text = make(user)
    User.objects.filter(pk=user.pk).update(is_active=was_active and user.username != "gone")
    return text


def by_api(program: Program, request: ApprovalRequest, **headers: str) -> str:
    body = {"decision": "approve", "digest": request.tool_call.args_digest}
    return answered(program.post(f"/approvals/{request.pk}/decide", body, **headers))


def the_api(user: User | None, request: ApprovalRequest) -> str:
    return by_api(Program(credential(user, lambda one: key_of(one, Scope.APPROVE))), request)


def the_api_with_a_token(user: User | None, request: ApprovalRequest) -> str:
    token = credential(user, lambda one: tokens.issue(one).access)
    return by_api(Program(), request, **({"Authorization": f"Bearer {token}"} if token else {}))


def the_apis_list(user: User | None, request: ApprovalRequest) -> str:
    program = Program(credential(user, lambda one: key_of(one, Scope.APPROVE)))
    answer = program.get("/approvals?status=all&mine=true")
    if answer.status_code != 200:
        return answered(answer)
    return DECIDES if str(request.pk) in answer.content.decode() else SEES


def the_socket(user: User | None, request: ApprovalRequest) -> str:
    key = credential(user, lambda one: key_of(one, Scope.APPROVE))
    decision = {"type": "approve", "digest": request.tool_call.args_digest}
    frame = {"type": "decide", "tool_call_id": str(request.tool_call_id), "decision": decision}
    answer = asyncio.run(_said_over_a_socket(key, frame))
    if answer["type"] == "accepted":
        return DECIDES
    return {401: UNKNOWN, 403: REFUSED, 404: REFUSED}[answer["code"]]


async def _said_over_a_socket(key: str, frame: Any) -> Any:
    headers = [(b"x-api-key", key.encode())] if key else []
    socket = WebsocketCommunicator(application, "/ws/v1/", headers)
    try:
        assert (await socket.connect(30))[0]
        await socket.send_to(json.dumps(frame))
        return json.loads(await socket.receive_from(30))
    finally:
        await socket.disconnect()
        await hub.close()


class LangGraphProgram(Program):
    root = "/api/langgraph"


def the_langgraph_api(user: User | None, request: ApprovalRequest) -> str:
    """`command.resume` by a key that may do everything its owner may: chatting is no right to decide."""
    at_rest(request)
    if user is not None:
        user.groups.add(Group.objects.get(name=roles.CHAT_USERS))
    program = LangGraphProgram(credential(user, key_of))
    body = {"assistant_id": "shop", "command": {"resume": {"decisions": [{"type": "approve"}]}}}
    return answered(program.post(f"/threads/{request.tool_call.thread_id}/runs", body))


def at_rest(request: ApprovalRequest) -> None:
    """The thread's state as a worker leaves it when a call has to wait."""
    call = request.tool_call
    type(call.run).objects.filter(pk=call.run_id).update(ended_at=timezone.now())
    interrupt = {"id": "0" * 32, "calls": [str(call.pk)], "digest": call.args_digest}
    ThreadState.objects.create(thread=call.thread, run=call.run, interrupts=[interrupt])


DOORS: dict[str, Callable[[User | None, ApprovalRequest], str]] = {
    "queue: mine": the_list,
    "page, e-mail link": the_page,
    "crafted POST": a_post,
    "bulk action": the_bulk_action,
    "API: mine": the_apis_list,
    "API: key": the_api,
    "API: token": the_api_with_a_token,
    "LangGraph API: resume": the_langgraph_api,
    "socket: key": the_socket,
    "port (chat)": the_port,
    "command": the_command,
}
READING = ("queue: mine", "page, e-mail link", "API: mine")
PROGRAMS = ("API: mine", "API: key", "API: token", "socket: key", "LangGraph API: resume")
WITHIN = ("port (chat)", "command")
LACKING = ("view-only staff", "chat user")  # without the permission to decide no key gives anything here


def expected(door: str, name: str) -> str:
    _, may_decide, may_see = PEOPLE[name]
    if door in PROGRAMS and name in ("deactivated", "anonymous"):
        return UNKNOWN
    if door == "LangGraph API: resume":  # of other people's threads, which are not there, or of one's own run
        return REFUSED
    if may_decide:
        return DECIDES
    if door in WITHIN or (door in PROGRAMS and name in LACKING):
        return REFUSED
    if not may_see:
        return SIGN_IN
    if (
        door == "bulk action"
    ):  # only who has the permission is offered the action; the rest of the list is shown
        return SEES
    return SEES if door in READING else REFUSED


COMMITTED = {"socket: key": pytest.mark.django_db(transaction=True)}  # what others than this thread look at


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("door", [pytest.param(door, marks=COMMITTED.get(door, ())) for door in DOORS])
def test_the_door_lets_in_whom_it_should(people, waiting, door: str, name: str) -> None:
    approval = waiting(people["requester"])
    user = people.get(name)
    if user is not None and name == "deactivated" and door not in WITHIN:
        browser(user)
    elif name == "deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)

    found = DOORS[door](user, approval)

    assert found == expected(door, name)
    approval.refresh_from_db()
    assert approval.is_pending is not (found == DECIDES and door not in READING)


def test_who_may_confirm_alone_does_so_through_the_langgraph_api(people, waiting, rule) -> None:
    """That the others are refused there is for who they are, and for nothing in the request."""
    PolicyRule.objects.filter(pk=rule.pk).update(requester_confirms=True)

    assert the_langgraph_api(people["requester"], waiting(people["requester"])) == DECIDES


@pytest.mark.parametrize("name", ["approver", "requester"])
def test_a_key_to_chat_decides_nothing(people, waiting, rule, name: str) -> None:
    PolicyRule.objects.filter(pk=rule.pk).update(requester_confirms=True)
    approval = waiting(people["requester"])
    at_rest(approval)
    people[name].groups.add(Group.objects.get(name=roles.CHAT_USERS))
    key = key_of(people[name], Scope.CHAT)
    resume = {"assistant_id": "shop", "command": {"resume": {"decisions": [{"type": "approve"}]}}}

    assert Program(key).get("/approvals").status_code == 403
    assert by_api(Program(key), approval) == REFUSED
    refused = LangGraphProgram(key).post(f"/threads/{approval.tool_call.thread_id}/runs", resume)
    assert refused.status_code == (403 if name == "requester" else 404)
    approval.refresh_from_db()
    assert approval.is_pending


def table() -> str:
    lines = ["| who | " + " | ".join(DOORS) + " |", "| --- |" + " --- |" * len(DOORS)]
    for name, (what, _, _) in PEOPLE.items():
        cells = " | ".join(expected(door, name) for door in DOORS)
        lines.append(f"| {name}: {what} | {cells} |")
    return "\n".join(lines) + "\n"


def test_the_documents_table_is_this_tests() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if os.environ.get("WRITE_TABLES"):
        PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}")
        shown = table()

    assert shown == table()
