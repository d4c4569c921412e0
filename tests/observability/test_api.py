"""`/api/v1/audit`: read by those who may, in pages, and taken home as the signed file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from accounts import roles
from accounts.models import User
from accounts.scopes import Scope
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission
from django.db import connection, connections
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings
from runtime import audit
from runtime.audit import chain, signing
from runtime.audit.verify_export import check_file
from runtime.models import AuditEvent

from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db(transaction=True)

LIST, EXPORT = "/audit", "/audit/export"
THREAD = UUID("6fffee8a-a899-44b3-a10a-f1cd54c6cea3")


@pytest.fixture(autouse=True)
def key(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_KEY, settings.AUDIT_KEY_IS_OURS = str(tmp_path / "key.pem"), True


@pytest.fixture
async def _connections_closed() -> AsyncIterator[None]:
    """The thread that sync_to_async uses outlives the test, and so would its connection."""
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def daves(dave: User) -> Program:
    return Program(key_of(dave, Scope.AUDIT))


@pytest.fixture
def events(daves: Program, alice: User) -> int:
    """Five of them; how many there were before."""
    before = chain.head().seq
    for number in range(4):
        audit.append("test.done", subject=("test", str(number)), after={"text": f"n° {number} 退款"})
    audit.append("test.told", subject=("test", "9"), actor=alice, reason="as agreed", thread_id=THREAD)
    return before


def seqs(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [each["seq"] for each in answer.json()["items"]]


# Who gets in


@pytest.mark.parametrize("path", [LIST, EXPORT])
@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("nobody", 401),
        ("a wrong key", 401),
        ("switched off", 401),
        ("another scope", 403),
        ("an approver", 403),
        ("a chat user", 403),
        ("no staff", 403),
    ],
)
def test_a_stranger_stays_outside(
    dave: User, bob: User, alice: User, person: Callable[..., User], who: str, status: int, path: str
) -> None:
    eve = person("eve", roles.AUDITORS)
    keys = {
        "nobody": "",
        "a wrong key": "cs_000000000000_nothing",
        "switched off": key_of(dave, Scope.AUDIT),
        "another scope": key_of(dave, Scope.APPROVE, Scope.CHAT),
        "an approver": key_of(bob, Scope.AUDIT),
        "a chat user": key_of(alice, Scope.AUDIT),
        "no staff": key_of(eve, Scope.AUDIT),
    }
    if who == "switched off":
        User.objects.filter(pk=dave.pk).update(is_active=False)

    answer = Program(keys[who]).get(path)

    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not AuditEvent.objects.filter(action="audit.exported").exists()


def test_to_read_is_not_to_take_home(daves: Program) -> None:
    auditors = Group.objects.get(name=roles.AUDITORS)
    auditors.permissions.remove(Permission.objects.get(codename="export_auditevent"))

    assert daves.get(LIST).status_code == 200
    assert daves.get(EXPORT).status_code == 403


# Pages


def test_an_event_is_told_in_full(daves: Program, alice: User, events: int) -> None:
    told = daves.get(f"{LIST}?limit=1").json()["items"][0]

    row = AuditEvent.objects.get(seq=told["seq"])
    assert (told["action"], told["actor"], told["actor_id"]) == ("test.told", "alice", str(alice.pk))
    assert (told["subject"], told["reason"]) == ({"kind": "test", "id": "9"}, "as agreed")
    assert (told["thread_id"], told["before"], told["after"]) == (str(THREAD), None, None)
    assert (told["hash"], told["previous"]) == (row.hash, row.previous)


def test_pages_neither_repeat_nor_miss_one_while_events_come(daves: Program, events: int) -> None:
    found, after = [], ""
    for _ in range(3):
        page = daves.get(f"{LIST}?limit=2&subject_kind=test{after}")
        found += seqs(page)
        after = f"&after={page.json()['next']}"
        audit.append("test.later", subject=("test", "later"))

    assert found == [events + 5, events + 4, events + 3, events + 2, events + 1]
    assert page.json()["next"] is None


def test_it_can_be_followed_from_the_oldest(daves: Program, events: int) -> None:
    first = daves.get(f"{LIST}?order=oldest&limit=3&subject_kind=test")
    rest = daves.get(f"{LIST}?order=oldest&subject_kind=test&after={first.json()['next']}")

    assert seqs(first) + seqs(rest) == [events + number for number in range(1, 6)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("action=test.told", [5]),
        ("actor=alice&subject_kind=test", [5]),
        ("subject_kind=test&subject_id=2", [3]),
        (f"thread_id={THREAD}", [5]),
        ("text=as%20agreed", [5]),
        ("text=N%C2%B0%203", [4]),
        ("text=100%25", []),
        ("action=test.done&order=oldest", [1, 2, 3, 4]),
        ("subject_kind=test&since={later}", []),
        ("subject_kind=test&until={later}", [5, 4, 3, 2, 1]),
        ("subject_kind=test&until={earlier}", []),
        ("subject_kind=test&until=2000-01-01T00:00:00-16:33", []),
    ],
)
def test_it_filters(daves: Program, events: int, query: str, found: list[int]) -> None:
    now = timezone.now()
    times = {"later": now + timedelta(hours=1), "earlier": now - timedelta(hours=1)}
    query = query.format(**{name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()})

    assert seqs(daves.get(f"{LIST}?{query}")) == [events + number for number in found]


@pytest.mark.parametrize(
    "query",
    ["limit=201", "limit=0", "after=0", "after=x", "order=seq", "since=yesterday", "since=2026-01-01T00:00:00",
     "since=9999-12-31T23:59:59-01:00", "until=0.5", "thread_id=7", f"after={2**63}"],
)  # fmt: skip
def test_what_can_not_be_asked_is_said(daves: Program, query: str) -> None:
    answer = daves.get(f"{LIST}?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{query.partition('=')[0]}: ")


def test_a_page_costs_as_many_queries_whatever_its_length(daves: Program, events: int) -> None:
    daves.get(LIST)  # a first use is noted on the key

    def cost(limit: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            daves.get(f"{LIST}?limit={limit}")
        return len(queries)

    assert cost(1) == cost(100)


# The file


async def download(user: User, query: str = "") -> str:
    headers = {"x-api-key": await sync_to_async(key_of)(user, Scope.AUDIT)}
    answer = await AsyncClient().get(f"/api/v1{EXPORT}{query}", headers=headers)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-ndjson"
    assert answer["Content-Disposition"].startswith("attachment;")
    return b"".join([chunk async for chunk in answer.streaming_content]).decode()


@pytest.mark.usefixtures("_connections_closed")
async def test_the_file_is_the_commands(
    dave: User, events: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(chain, "PAGE", 2)
    end = await sync_to_async(lambda: chain.head().seq)()

    text = await download(dave, f"?until={end}")
    same = "".join(await sync_to_async(lambda: list(signing.begin(1, end).lines()))())

    public = await sync_to_async(signing.public_key)()
    head = check_file(text.splitlines(keepends=True), public.encode())
    assert (head["seq"], head["count"]) == (end, end)
    assert text.splitlines()[:-1] == same.splitlines()[:-1]


@pytest.mark.usefixtures("_connections_closed")
async def test_a_part_is_told_in_the_audit_and_does_not_hold_that(dave: User, events: int) -> None:
    lines = (await download(dave, f"?since={events + 2}")).splitlines()

    told = await AuditEvent.objects.aget(action="audit.exported")
    assert (told.actor, told.told["after"]["since"]) == ("dave", events + 2)
    assert json.loads(lines[0])["seq"] == events + 2
    assert json.loads(lines[-1])["head"]["seq"] == told.told["after"]["until"] == told.seq - 1


@pytest.mark.parametrize("query", ["?since=9999", "?since=3&until=2", "?until=9999", "?since=0"])
def test_there_is_no_file_of_what_is_not_there(daves: Program, events: int, query: str) -> None:
    answer = daves.get(f"{EXPORT}{query}")

    assert answer.status_code == 422
    assert not AuditEvent.objects.filter(action="audit.exported").exists()


def test_without_its_key_nothing_is_exported(daves: Program, events: int, settings: Settings) -> None:
    settings.AUDIT_KEY_IS_OURS = False

    answer = daves.get(EXPORT)

    assert (answer.status_code, "administrator" in answer.json()["detail"]) == (503, True)
    assert not AuditEvent.objects.filter(action="audit.exported").exists()
