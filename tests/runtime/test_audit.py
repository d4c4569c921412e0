"""Nobody changes the audit, and what its tables' owner changes all the same is found and named."""

from __future__ import annotations

import io
import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accounts.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from pytest_django.fixtures import Settings
from runtime import audit, database, invariants
from runtime.audit import chain
from runtime.audit.verify_export import Broken
from runtime.models import AuditEvent, Run, Thread, ToolCall, ToolState

from tests.support.chain import tamper
from tests.support.engines import Engine, take_turn
from tests.support.threads import together

pytestmark = pytest.mark.django_db(transaction=True)


def tell(*names: str) -> None:
    for name in names:
        audit.append(f"test.{name}", subject=("test", name))


def verify(*args: str) -> dict[str, Any]:
    out = io.StringIO()
    code: object = 0
    try:
        call_command("verify_audit", "--json", *args, stdout=out)
    except SystemExit as error:
        code = error.code
    found: dict[str, Any] = json.loads(out.getvalue())
    assert code == (0 if found["holds"] else 1)
    return found


def actions(**filters: Any) -> list[str]:
    return list(AuditEvent.objects.filter(**filters).order_by("seq").values_list("action", flat=True))


# The chain


def test_events_of_a_transaction_keep_their_order_and_follow_on_those_before() -> None:
    tell("a")
    with transaction.atomic():
        tell("b", "c")

    assert actions() == ["test.a", "test.b", "test.c"]
    assert list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]
    assert chain.check().seq == 3


def test_what_is_rolled_back_leaves_no_gap() -> None:
    tell("a")
    with transaction.atomic():
        tell("lost")
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            tell("lost as well")
            transaction.set_rollback(True)
        tell("b")

    assert actions() == ["test.a", "test.b"]
    assert chain.check().seq == 2


def test_text_that_postgresql_cannot_hold_is_still_told() -> None:
    audit.append("test.odd", subject=("test", ""), reason="a\x00b\ud800", after={"big": "x" * 10_000})

    told = AuditEvent.objects.get().told
    assert told["reason"] == "a\ufffdb\ufffd"
    assert told["after"]["big"].startswith("xxx")
    assert "10000 characters, SHA-256 " in told["after"]["big"]
    assert chain.check().seq == 1


def test_eight_writers_at_once_make_one_chain() -> None:
    def write(number: int) -> None:
        for each in range(100):
            with transaction.atomic():
                tell(f"{number}-{each}")

    assert together(*(partial(write, number) for number in range(8))) == []
    assert chain.check().seq == 800
    times = list(AuditEvent.objects.order_by("seq").values_list("at", flat=True))
    assert times == sorted(times)  # type: ignore[type-var]


def test_the_seal_waits_for_no_row_while_it_holds_the_head(thread: Thread) -> None:
    """A foreign key that is checked at the commit locks what it refers to: that comes before the head's lock."""
    held, go_on = threading.Event(), threading.Event()

    def lock_thread_then_tell() -> None:
        with transaction.atomic():
            Thread.objects.select_for_update().get(pk=thread.pk)
            held.set()
            go_on.wait(5)
            tell("b")

    def tell_then_refer() -> None:
        assert held.wait(5)
        with transaction.atomic():
            tell("a")
            Run.objects.create(thread_id=thread.pk, assistant_id=thread.assistant_id, user_id=thread.owner_id)

    def let_go() -> None:
        _wait_for_a_blocked_backend()
        go_on.set()

    assert together(lock_thread_then_tell, tell_then_refer, let_go) == []
    assert {"test.a", "test.b"} <= set(actions())


def _wait_for_a_blocked_backend() -> None:
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("Nobody waits for a lock.")


# Refused by the database


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runtime_auditevent SET body = replace(body, 'test', 'best')",
        "UPDATE runtime_auditevent SET seq = seq + 100",
        "UPDATE runtime_auditevent SET hash = ''",
        "DELETE FROM runtime_auditevent",
        "TRUNCATE runtime_auditevent",
        "INSERT INTO runtime_auditevent (body, seq, hash) VALUES ('{}', 9, 'x')",
        "UPDATE runtime_audithead SET seq = 9",
        "DELETE FROM runtime_audithead",
        "TRUNCATE runtime_audithead",
        "INSERT INTO runtime_audithead (id, seq, hash, at) VALUES (2, 9, '', now())",
    ],
)
def test_raw_sql_of_the_application_is_refused(statement: str) -> None:
    tell("a", "b")

    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert chain.check().seq == 2


def test_an_event_is_not_changed_before_its_commit_either() -> None:
    with transaction.atomic():
        tell("a")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            AuditEvent.objects.filter(seq=None).update(hash="mine", seq=1)


def test_a_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("INSERT INTO runtime_auditevent (body) VALUES ('nothing')")


# Done all the same, and found


HASH = """encode(sha256(convert_to(concat_ws(E'\\n', previous, seq,
    to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), body), 'UTF8')), 'hex')"""


@pytest.mark.parametrize(
    ("statements", "seq", "kind"),
    [
        (
            ["UPDATE runtime_auditevent SET body = replace(body, 'test.c', 'test.x') WHERE seq = 3"],
            3,
            "changed",
        ),
        (["UPDATE runtime_auditevent SET at = at + interval '1 hour' WHERE seq = 3"], 3, "changed"),
        (
            [
                "UPDATE runtime_auditevent SET body = replace(body, 'test.c', 'test.x') WHERE seq = 3",
                f"UPDATE runtime_auditevent SET hash = {HASH} WHERE seq = 3",
            ],
            3,
            "changed",
        ),
        (["DELETE FROM runtime_auditevent WHERE seq = 3"], 3, "missing"),
        (["DELETE FROM runtime_auditevent WHERE seq = 1"], 1, "missing"),
        (
            [
                "UPDATE runtime_auditevent SET seq = -1 WHERE seq = 2",
                "UPDATE runtime_auditevent SET seq = 2 WHERE seq = 3",
                "UPDATE runtime_auditevent SET seq = 3 WHERE seq = -1",
            ],
            2,
            "reordered",
        ),
        (["DELETE FROM runtime_auditevent WHERE seq > 4"], 5, "cut"),
        (["UPDATE runtime_audithead SET seq = 4"], 5, "changed"),
        (["DELETE FROM runtime_audithead"], 0, "missing"),
        (["TRUNCATE runtime_auditevent"], 1, "cut"),
    ],
)
def test_what_the_owner_of_the_tables_changes_is_named(statements: list[str], seq: int, kind: str) -> None:
    tell("a", "b", "c", "d", "e")
    tamper(*statements)

    with pytest.raises(Broken) as broken:
        chain.check()
    assert (broken.value.seq, broken.value.kind) == (seq, kind)
    assert {found.name for found in invariants.violations()} == {"audit-broken"}
    tamper("DELETE FROM runtime_audithead", "INSERT INTO runtime_audithead VALUES (1, 0, '', '-infinity')")


def test_reading_that_breaks_off_leaves_no_cursor_open() -> None:
    """The garbage collector would close it, while the thread may hold the connection's lock: it hung for ever."""
    tell("a", "b", "c")
    tamper("UPDATE runtime_auditevent SET hash = '' WHERE seq = 1")

    with transaction.atomic(), connection.cursor() as cursor:
        with pytest.raises(Broken) as kept:  # with its frames, and what they hold
            chain.check()
        cursor.execute("SELECT count(*) FROM pg_cursors")
        assert cursor.fetchone() == (0,)
    assert kept.value.seq == 1


def test_a_chain_longer_than_a_page_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PAGE", 2)
    tell("a", "b", "c", "d", "e")

    assert chain.check().seq == 5


def test_a_cut_tail_is_found_by_the_anchor(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_ANCHOR = str(tmp_path / "anchor.jsonl")
    tell("a", "b", "c")
    assert chain.drop_anchor() == chain.head()
    tamper(
        "DELETE FROM runtime_auditevent WHERE seq = 3",
        "UPDATE runtime_audithead SET seq = 2, hash = (SELECT hash FROM runtime_auditevent WHERE seq = 2)",
    )

    assert verify()["kind"] == "cut"
    # The verdict is an event itself, so by now there is a third again, but not the one that was anchored.
    found = verify()
    assert (found["holds"], found["seq"], found["kind"]) == (False, 3, "changed")


def test_the_head_is_anchored_once_a_minute_by_whichever_worker_is_first(
    settings: Settings, tmp_path: Path
) -> None:
    settings.AUDIT_ANCHOR = str(tmp_path / "deep" / "anchor.jsonl")
    tell("a")

    assert chain.drop_anchor() == chain.head()
    tell("b")
    assert chain.drop_anchor() is None
    _age(Path(settings.AUDIT_ANCHOR))
    assert chain.drop_anchor() == chain.head()
    _age(Path(settings.AUDIT_ANCHOR))
    assert chain.drop_anchor() is None  # nothing happened since
    assert list(chain.read_anchors()) == [1, 2]
    assert Path(settings.AUDIT_ANCHOR).stat().st_mode & 0o777 == 0o600


def _age(path: Path) -> None:
    import os

    os.utime(path, (0, 0))


def test_verify_audit_says_what_it_found_and_leaves_an_event_of_it() -> None:
    tell("a")
    assert verify() == {"holds": True, "seq": 1, "kind": None, "problem": ""}
    assert AuditEvent.objects.get(action="audit.verified").told["after"]["holds"] is True
    tamper("UPDATE runtime_auditevent SET body = replace(body, 'test', 'best') WHERE seq = 1")

    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("verify_audit", stdout=out)
    assert out.getvalue() == "event 1: changed: its hash is not that of what it holds.\n"


# What is told


def test_a_tool_call_is_told_from_proposal_to_result(
    engine: Engine, thread: Thread, order: object, rules: object, bob: User
) -> None:
    from apps.approvals import decisions

    take_turn(
        engine, thread, 'call refund_order with {"order_number": 1042, "amount": "5.00", "reason": "late"}'
    )
    call = thread.tool_calls.get()
    assert call.state == ToolState.WAITING
    decisions.decide(bob, call.pk, {"type": "approve", "message": "goodwill"})
    engine.perform(str(thread.runs.order_by("-created_at")[0].pk))
    call.refresh_from_db()

    assert call.state == ToolState.DONE, call.error
    told = AuditEvent.objects.filter(subject_kind="tool_call", subject_id=str(call.pk)).order_by("seq")
    assert [event.action.removeprefix("tool_call.") for event in told] == [
        "proposed",
        "waiting",
        "approved",
        "running",
        "done",
    ]
    approved = told[2]
    assert (approved.actor, approved.told["reason"]) == ("bob", "goodwill")
    assert approved.told["after"]["args_digest"] == call.args_digest
    assert approved.thread_id == str(thread.pk)
    assert actions(action="run.created") == ["run.created"] * 2
    assert invariants.violations() == []


def test_a_settled_call_without_its_events_is_named(
    engine: Engine, thread: Thread, order: object, rules: object
) -> None:
    tell("a")
    take_turn(
        engine, thread, 'call refund_order with {"order_number": 1042, "amount": "5.00", "reason": "late"}'
    )
    ToolCall.objects.filter(thread=thread).update(
        state=ToolState.FAILED
    )  # past the one place that changes it

    assert "call-not-audited" in {found.name for found in invariants.violations()}


def test_a_change_that_cannot_be_audited_is_undone(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.audit import following

    def full(*_: Any, **__: Any) -> None:
        raise DatabaseError("no space left on device")

    monkeypatch.setattr(following, "append", full)
    alice = thread.owner
    alice.is_superuser = True
    with pytest.raises(DatabaseError):
        alice.save()

    assert not User.objects.get(pk=alice.pk).is_superuser


def test_the_owner_deletes_a_thread(thread: Thread) -> None:
    thread.withdraw_from_owner()
    thread.withdraw_from_owner()

    assert actions(subject_id=str(thread.pk)) == ["thread.deleted"]
