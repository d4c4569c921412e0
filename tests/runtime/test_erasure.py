"""Erasing a person: what goes, what stays, and what has to end before."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from accounts.models import User
from django.core.management import CommandError, call_command
from django.db.models import Q
from runtime import erasure, runs
from runtime.audit import chain
from runtime.models import AuditEvent, Message, Run, RunStatus, StoreItem, Thread

pytestmark = pytest.mark.django_db


def erase(name: str, *options: str) -> str:
    out = StringIO()
    call_command("erase_user", name, *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def rested(thread: Thread) -> Thread:
    """A thread of alice's whose turn has ended."""
    run = runs.send_message(thread, thread.owner, "My words")
    assert run.advance(RunStatus.CANCELLED, among=Q(status=RunStatus.PENDING))
    return thread


def test_what_is_theirs_goes_and_nobody_elses(rested: Thread, alice: User, carol: User) -> None:
    hers = Thread.objects.create(owner=carol, assistant=rested.assistant)
    for person in (alice, carol):
        StoreItem.objects.create(owner=person, namespace=["a"], key="k", value={})

    told = erase("alice", "--yes")

    assert "1 threads, 1 runs" in told
    assert list(Thread.objects.all()) == [hers]
    assert not Message.objects.exists()
    assert not Run.objects.exists()
    assert StoreItem.objects.get().owner == carol
    alice.refresh_from_db()
    assert (alice.username, alice.email, alice.is_active) == (f"erased-{alice.pk}", "", False)
    assert not alice.has_usable_password()
    assert not alice.groups.exists()


def test_the_audit_tells_of_it_without_a_name_and_its_chain_holds(rested: Thread, alice: User) -> None:
    erasure.erase(alice)

    chain.check()
    event = AuditEvent.objects.get(action="user.erased")
    assert event.subject_id == str(alice.pk)
    assert "alice" not in event.body


def test_a_session_of_theirs_ends(alice: User, carol: User, signed_in: Callable[[User], Any]) -> None:
    theirs, another = signed_in(alice), signed_in(carol)

    erasure.erase(alice)

    assert theirs.get("/", follow=False).status_code == 302
    assert another.get("/").status_code == 200


def test_a_dry_run_says_what_would_go_and_does_nothing(rested: Thread, alice: User) -> None:
    told = erase("alice", "--dry-run")

    assert "Would erase: 1 threads" in told
    assert "Nothing is in the way." in told
    assert Thread.objects.exists()
    assert not AuditEvent.objects.filter(action="user.erased").exists()


def test_a_turn_under_way_is_in_the_way(thread: Thread, alice: User) -> None:
    runs.send_message(thread, alice, "Wait for me")

    with pytest.raises(CommandError, match="1 runs of theirs are under way"):
        erase("alice", "--yes")
    with pytest.raises(erasure.NotErased):
        erasure.erase(alice)
    assert User.objects.filter(username="alice").exists()


def test_the_only_superuser_is_not_erased(admin: User) -> None:
    with pytest.raises(CommandError, match="only superuser"):
        erase("admin", "--yes")


def test_nobody_is_erased_whose_name_was_written_wrong(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "alic")

    with pytest.raises(CommandError, match="Nothing was erased"):
        erase("alice")
    with pytest.raises(CommandError, match="Nobody is called alic"):
        erase("alic")
