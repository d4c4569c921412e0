"""Attacks 82 to 90: what is stored, and what is code to whoever can write it."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from accounts import tokens
from accounts.models import ApiKey, TokenFamily, User
from asgiref.sync import async_to_sync
from django.core import serializers
from django.db import DatabaseError, connection, transaction
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from rq.job import Job
from rq.serializers import JSONSerializer
from runtime import audit, decisions, erasure, store
from runtime.audit import chain
from runtime.audit.verify_export import Broken
from runtime.engine import Engine
from runtime.job_worker import ListedJob
from runtime.models import Assistant, Thread
from runtime.redis_client import redis_client

from apps.observability.logs import JSONFormatter
from tests.security.registry import attack
from tests.security.without import patched, trigger
from tests.support.engines import take_turn
from tests.support.programs import key_of
from tests.support.traces import places_of

pytestmark = pytest.mark.django_db


async def body_of(response: Any) -> str:
    return b"".join([chunk async for chunk in response.streaming_content]).decode()


CANARY = "sk-proj-CANARY0123456789abcdef"


@attack(
    82,
    "a key in a message, in a tool's arguments, result and error, in a reason, in a header, in what is logged",
    "a mark in its place, in every table, in Redis, in the log and in the export of the audit",
    control="what is taken for a secret is masked before it is stored, streamed or logged",
    without=patched("runtime.masking.found_in", lambda text: []),
    held=[],
    fallen=lambda places: (
        {place.partition(":")[0] for place in places}
        >= {
            *("runtime_message", "runtime_run", "runtime_toolcall", "runtime_auditevent", "checkpoint_blobs"),
            *("redis thread", "the log", "the export"),
        }
    ),
    known_as="LLM02, ASVS 16.2.5",
)
@pytest.mark.django_db(transaction=True)
def test_82_a_key_in_what_is_said(bob, alice, admin, engine: Engine, settings, signed_in, rule):
    settings.COUNTERSIGN_GRAPHS = {"secrets": "tests.support.secret_graph:build"}
    settings.OPENAI_API_KEY = f"{CANARY}Own"
    rule.tool = "open_vault"
    rule.save()
    thread = Thread.objects.create(
        owner=alice, assistant=Assistant.objects.create(graph_id="secrets", name="Vault")
    )
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JSONFormatter())
    logging.getLogger().addHandler(handler)
    try:
        take_turn(engine, thread, f'call fail with {{"what": "{CANARY}"}}')
        take_turn(engine, thread, f'call open_vault with {{"password": "x", "note": "{CANARY}"}}')
        call = thread.tool_calls.get(tool="open_vault")
        decisions.decide(bob, call.pk, {"type": "reject", "message": f"not with {CANARY}"})
        engine.perform(str(thread.runs.latest("created_at").pk))
        logging.getLogger("tests").warning("sent %s", {"authorization": f"Bearer {CANARY}"})
    finally:
        logging.getLogger().removeHandler(handler)
    exported = async_to_sync(body_of)(signed_in(admin).get("/admin/runtime/toolcall/export/jsonl/"))
    elsewhere = {"the log": lines.getvalue(), "the export": exported}
    return places_of(CANARY) + [name for name, text in elsewhere.items() if CANARY in text]


@attack(
    83,
    "somebody reads a dump of the database for what they could call with",
    "no key and no token is in it",
    control="of a key its SHA-256 is kept, of a refresh token its own",
    without=[
        patched("accounts.keys._digest", lambda secret: secret),
        patched("accounts.tokens._digest", lambda token_id: token_id),
    ],
    held=[],
    fallen=["key", "refresh token"],
)
def test_83_a_dump_of_the_database(alice, monkeypatch):
    made: list[str] = []
    new_id = tokens._new_id
    monkeypatch.setattr(tokens, "_new_id", lambda: made.append(new_id()) or made[-1])
    secrets = {"key": key_of(alice).rpartition("_")[2], "refresh token": ""}
    given = tokens.issue(alice)
    secrets["refresh token"] = made[0]
    rows = [*ApiKey.objects.all(), *TokenFamily.objects.all()]
    dump = serializers.serialize("json", rows) + str(len(given.refresh))
    return [name for name, secret in secrets.items() if secret in dump]


@attack(
    84,
    "a row of a checkpoint that makes a folder when it is read",
    "it is not run",
    control="LangGraph's strict reading, on before it is imported",
    without=[
        patched("langgraph.checkpoint.serde._msgpack.STRICT_MSGPACK_ENABLED", False),
        patched("langgraph.checkpoint.serde.jsonplus._warn_once", lambda *given: None),
    ],
    held=False,
    fallen=True,
)
def test_84_a_checkpoint_that_is_code(tmp_path: Path):
    target = str(tmp_path / "made")
    call = ormsgpack.packb((os.mkdir.__module__, "mkdir", target))
    row = ormsgpack.packb(ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, call))
    JsonPlusSerializer().loads_typed(("msgpack", row))
    return Path(target).exists()


@attack(
    85,
    "an entry in the queue that names a function of the operating system",
    "PermissionError",
    control="workers perform what is on the list",
    without=patched("runtime.job_worker.ListedJob._execute", Job._execute),
    held=("PermissionError", False),
    fallen=("", True),
    known_as="ASI05",
)
def test_85_an_entry_of_the_queue_that_is_code(valkey: Any, tmp_path: Path):
    target = str(tmp_path / "made")
    job = ListedJob.create(
        "os.mkdir", args=[target], connection=redis_client(), serializer=JSONSerializer, timeout=10
    )
    try:
        job._execute()
    except PermissionError as error:
        return type(error).__name__, Path(target).exists()
    return "", Path(target).exists()


@attack(
    89,
    "the application's own SQL changes a line of the audit",
    "the database refuses, and the chain holds",
    control="triggers; and where they are gone, the chain names the line",
    without=trigger("runtime_auditevent", "audit_guard"),
    held=("refused", "holds"),
    fallen=("written", "changed at 2"),
)
@pytest.mark.django_db(transaction=True)
def test_89_a_line_of_the_audit_is_changed(transactional_db: None):
    for name in ("a", "b", "c"):
        audit.append(f"test.{name}", subject=("test", name))
    done = "written"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE runtime_auditevent SET body = replace(body, 'test.b', 'test.x') WHERE seq = 2"
            )
    except DatabaseError:
        done = "refused"
    try:
        chain.check()
    except Broken as broken:
        return done, f"{broken.kind} at {broken.seq}"
    return done, "holds"


@attack(
    90,
    "what somebody said, asked and was called is looked for after they were erased",
    "nothing but the name they signed in by, in the audit, whose chain holds",
    control="erasing takes threads, and all that hangs on them, checkpoints included",
    without=patched("runtime.retention._delete_checkpoints", lambda thread_ids: None),
    held=({"runtime_auditevent"}, 0, "holds"),
    fallen=lambda got: {"checkpoint_blobs"} <= got[0] and got[1:] == (0, "holds"),
)
@pytest.mark.django_db(transaction=True)
def test_90_somebody_who_was_erased(alice, thread, engine: Engine, signed_in):
    User.objects.filter(pk=alice.pk).update(first_name="Alicia-Maria", username="alicia-m")
    alice.refresh_from_db()
    signed_in(alice).get("/")
    key_of(alice)
    store.put(alice.pk, ["notes"], "mine", {"text": "xylophone"})
    take_turn(engine, thread, "Tell me about the xylophone.")
    erasure.erase(alice)
    places = places_of("alicia-m", "alice@example.com", "Alicia-Maria", "xylophone")
    chain.check()
    return {place for place in places if not place.startswith("redis")}, len(ApiKey.objects.all()), "holds"
