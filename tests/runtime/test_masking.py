"""Secrets: what is taken for one, what of it is kept, and that what was approved is still what runs."""

from __future__ import annotations

import ast
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from accounts.models import User
from config import env
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pydantic import SecretStr
from runtime import audit, decisions, ledger, masking, runs, seal
from runtime.configuration import config_of
from runtime.engine import Engine
from runtime.masking import StreamMask, mask, masked
from runtime.models import Assistant, AuditEvent, Message, Run, RunStatus, Thread, ToolState
from runtime.tools import tool

from apps.observability.logs import JSONFormatter
from tests.support import secret_graph
from tests.support.engines import take_turn
from tests.support.traces import places_of

KEY = "sk-proj-CANARYabcdef0123456789"
PEM = "-----BEGIN PRIVATE KEY-----\nMIICANARY\n-----END PRIVATE KEY-----"

SECRET = {
    f"the key is {KEY} here": KEY,
    f"keep this\n{PEM}\nsafe": PEM,
    "card 4242 4242 4242 4242, 12/30": "4242 4242 4242 4242",
    "card 378282246310005": "378282246310005",
    "my password is hunter22, ok?": "hunter22",
    '{"api_key": "Zm9vYmFyMTIz"}': "Zm9vYmFyMTIz",
    '"{\\"password\\": \\"hunter22\\"}"': "hunter22",
    "密码是abc12345。": "abc12345",
    "Authorization: Bearer abcdef0123456789abcdef": "abcdef0123456789abcdef",
    "postgres://app:p4ss@db/agents": "p4ss",
    "AKIAIOSFODNN7EXAMPLE is Amazon's": "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1" * 18: "ghp_" + "a1" * 18,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
}

PLAIN = [
    "Refund order 1042 with 59.90 because the password field was broken.",
    "card 4242 4242 4242 4241",  # Luhn's sum is wrong
    "order 1234567890123456 and 20261122101112",
    "7d6a0f3c-4242-4242-4242-424242424242",
    "sk-learn-is-a-library-with-a-long-name, task-force",
    "The password is required. The secret is out.",
    "https://example.com:8000/a?b=c",
    "退款订单 1042，密码错误",
]


@pytest.mark.parametrize(("text", "secret"), SECRET.items())
def test_a_secret_is_masked_and_what_is_around_it_stays(text: str, secret: str) -> None:
    before, _, after = text.partition(secret)

    assert secret not in mask(text)
    assert mask(text).startswith(before)
    assert mask(text).endswith(after)
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(("text", "secret"), SECRET.items())
def test_a_secret_that_comes_in_pieces_never_goes_out(text: str, secret: str) -> None:
    """At most its first characters do, which tell the kind of it."""
    dice = random.Random(text)
    for _ in range(50):
        stream, cuts = StreamMask(), sorted(dice.sample(range(len(text) + 1), k=min(8, len(text))))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        out = "".join(stream.feed(piece) for piece in pieces) + stream.end()

        assert secret not in out
        assert "[masked:" in out
        assert not any(secret[at:] in out for at in range(min(12, len(secret) - 4)))


@pytest.mark.parametrize("text", PLAIN)
def test_a_stream_of_plain_text_is_whole_and_not_held_back_for_long(text: str) -> None:
    stream = StreamMask()
    out = [stream.feed(char) for char in text * 3]

    assert "".join(out) + stream.end() == text * 3


def test_one_secret_has_one_mark_and_another_has_another() -> None:
    other = KEY.replace("0", "1")

    assert mask(f"{KEY} {KEY}").split()[0] == mask(KEY)
    assert mask(other) != mask(KEY)


def test_a_field_that_is_called_secret_is_masked_whatever_it_holds() -> None:
    given = {"password": "abc", "list": [{"Client-Secret": "x y"}], "n": 4242424242424242, "name": "Ada"}
    told = masked(given)

    assert "abc" not in str(told)
    assert "x y" not in str(told)
    assert "4242424242424242" not in str(told)
    assert told["name"] == "Ada"
    assert masking.opened(told, masking.kept(masking.taken(given)[1])) == given


def test_the_settings_own_secrets_and_added_patterns_are_masked(settings: Any) -> None:
    settings.OPENAI_API_KEY = "a-very-own-key"
    settings.SECRET_PATTERNS = [r"EMP-\d{6}"]

    assert "own-key" in mask("it is a-very-own-key")
    assert "a-very-own-key" not in mask("it is a-very-own-key")
    assert mask("ask EMP-123456 for it").startswith("ask [masked:configured:")
    stream = StreamMask()
    assert "123456" not in stream.feed("EMP-12") + stream.feed("3456 ") + stream.end()


def test_kinds_can_be_left_out(settings: Any) -> None:
    settings.SECRET_KINDS_OFF = ["card"]

    assert mask("4242 4242 4242 4242") == "4242 4242 4242 4242"
    assert KEY not in mask(KEY)


@pytest.mark.parametrize("pattern", ["(", "a*", ""])
def test_a_pattern_that_is_none_or_fits_everything_is_refused(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATTERNS", f"fine\n{pattern}")

    if pattern:
        with pytest.raises(ImproperlyConfigured, match="PATTERNS"):
            env.patterns("PATTERNS")
    else:
        assert env.patterns("PATTERNS") == ["fine"]


def test_what_is_sealed_opens_with_no_other_key(settings: Any) -> None:
    sealed = masking.kept({"[masked:card:aaaaaaaaaaaaaaaa]": "4242"})
    settings.SECRET_KEY = "another"

    with pytest.raises(seal.Unreadable):
        masking.values_of(sealed)


def test_a_tool_says_which_arguments_are_secret() -> None:
    @tool(sensitive=True, effect="once", secret=["pin"])
    def pay(pin: str, key: SecretStr, amount: int) -> str:
        """Pay."""
        return "paid"

    assert masking.secret_names(pay.args_schema) == {"pin", "key"}
    assert pay._checked({"pin": "1234", "key": "k", "amount": 1}) == {"pin": "1234", "key": "k", "amount": 1}
    with pytest.raises(ValueError, match="no argument other"):
        tool(sensitive=True, effect="once", secret=["other"])(pay.inner.func)


def test_a_line_of_the_log_has_no_secret_and_is_still_json() -> None:
    try:
        raise ValueError(f"refused {KEY}")
    except ValueError:
        record = logging.LogRecord("x", 20, "f", 1, "sent %s", (KEY,), sys.exc_info())
    record.headers = {"authorization": "Basic YTpi"}
    record.thing = type("Thing", (), {"__str__": lambda self: KEY})()
    line = JSONFormatter().format(record)

    assert KEY not in line
    assert "YTpi" not in line
    assert json.loads(line)["message"].startswith("sent [masked:")


@pytest.mark.django_db(transaction=True)
def test_a_reason_in_the_audit_has_no_secret(transactional_db: None) -> None:
    audit.append("test.done", subject=("test", "1"), after={"name": KEY}, reason=f"because of {KEY}")

    assert places_of(KEY) == []
    assert "[masked:api-key:" in AuditEvent.objects.get().body


# A whole turn


@pytest.fixture
def vault(settings: Any, alice: User, rule: Any) -> Thread:
    settings.COUNTERSIGN_GRAPHS = {"secrets": "tests.support.secret_graph:build"}
    secret_graph.seen.clear()
    rule("open_vault")
    assistant = Assistant.objects.create(graph_id="secrets", name="Vault")
    return Thread.objects.create(owner=alice, assistant=assistant)


ASK = f'call open_vault with {{"password": "hunter2-CANARY77", "note": "{KEY}"}}'


@pytest.mark.django_db(transaction=True)
def test_the_model_is_told_a_mark_and_the_tool_gets_the_password(
    vault: Thread, bob: User, engine: Engine
) -> None:
    take_turn(engine, vault, ASK)
    call = vault.tool_calls.get()
    assert call.state == ToolState.WAITING
    assert places_of("hunter2-CANARY77", KEY) == []

    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    run = vault.runs.latest("created_at")
    engine.perform(str(run.pk))
    call.refresh_from_db()

    [(password, note)] = secret_graph.seen
    assert password == "hunter2-CANARY77"
    assert note == call.args["note"]
    assert note.startswith("[masked:api-key:")
    assert "[masked:api-key:" in call.result
    assert places_of("hunter2-CANARY77", KEY, secret_graph.NEW_KEY) == []


@pytest.mark.django_db(transaction=True)
def test_an_error_with_a_secret_in_it_is_kept_without(vault: Thread, engine: Engine) -> None:
    run = take_turn(engine, vault, f'call fail with {{"what": "{KEY}"}}')

    assert run.status == RunStatus.SUCCESS
    assert places_of(KEY, secret_graph.NEW_KEY) == []
    assert not any("CANARY" in message.content for message in Message.objects.all())


@pytest.mark.django_db(transaction=True)
def test_another_sealed_value_does_not_run(vault: Thread, bob: User, engine: Engine) -> None:
    """Who can write the row and has no key of ours can't put another value in the place of what was approved."""
    take_turn(engine, vault, ASK)
    call = vault.tool_calls.get()
    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runtime_toolcall SET sealed = 'gAAAAAforged' WHERE id = %s", [call.pk])
    engine.perform(str(vault.runs.latest("created_at").pk))
    call.refresh_from_db()

    assert (call.state, call.reason[:20]) == (ToolState.DENIED, "A secret of it can't")
    assert secret_graph.seen == []


@pytest.mark.django_db(transaction=True)
def test_an_edit_keeps_what_is_masked_and_masks_what_is_new(vault: Thread, bob: User, engine: Engine) -> None:
    take_turn(engine, vault, ASK)
    call = vault.tool_calls.get()
    args = {**call.args, "note": "use ghp_" + "b2" * 18}
    decisions.decide(bob, call.pk, {"type": "edit", "args": args, "message": f"not {KEY}"})
    engine.perform(str(vault.runs.latest("created_at").pk))

    assert secret_graph.seen == [("hunter2-CANARY77", "use ghp_" + "b2" * 18)]
    assert places_of("hunter2-CANARY77", "ghp_" + "b2" * 18, KEY) == []


@pytest.mark.django_db(transaction=True)
def test_a_programs_credentials_reach_its_graph_and_no_row(thread: Thread, engine: Engine) -> None:
    fields: Any = {"config": {"configurable": {"api_key": KEY}}}
    run = runs.send_message(thread, thread.owner, "Hello", fields=fields)
    run.refresh_from_db()
    assert config_of(run)["configurable"]["api_key"] == KEY
    engine.perform(str(run.pk))
    run.refresh_from_db()

    assert run.status == RunStatus.SUCCESS
    assert places_of(KEY) == []


@pytest.mark.django_db(transaction=True)
def test_a_turn_whose_credentials_do_not_open_ends_with_a_word(thread: Thread, engine: Engine) -> None:
    fields: Any = {"config": {"configurable": {"api_key": KEY}}}
    run = runs.send_message(thread, thread.owner, "Hello", fields=fields)
    Run.objects.filter(pk=run.pk).update(sealed="forged")
    engine.perform(str(run.pk))
    run.refresh_from_db()

    assert (run.status, run.error_type) == (RunStatus.ERROR, "Unreadable")
    assert "another secret key" in run.error


def test_a_mark_outside_of_a_secret_argument_is_never_put_back(thread: Thread) -> None:
    """A model writes the mark of a password into a mail as well."""
    schema = {"properties": {"password": {"writeOnly": True}, "body": {}}}
    values = masking.taken("hunter22", ())[1] | {mask("password: hunter22").split(": ")[1]: "hunter22"}
    run = thread.runs.create(assistant=thread.assistant, user=thread.owner, sealed=masking.kept(values))
    [mark] = values
    declared = masking.taken({"password": "hunter22"}, {"password"})[0]["password"]

    def of(**args: str) -> ledger.Proposal:
        base = ledger.Proposal("t", "c", "x", args, schema, True, "once", "")
        return ledger.with_secrets_of_thread(run, base)

    assert of(password=mark, body=mark).true_args == {"password": "hunter22", "body": mark}
    assert of(password=mark, body=declared).true_args == {"password": mark, "body": declared}


def test_what_models_are_told_by_our_assistants_holds_no_secret() -> None:
    """A system prompt is told to whoever asks for it well: every text of every assistant's code, and of its tools."""
    sources = list((Path(__file__).resolve().parents[2] / "platform/assistants").rglob("*.py"))
    texts = [
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    assert any("assistant" in text.lower() for text in texts)
    assert [text for text in texts if mask(text) != text] == []


@pytest.mark.django_db(transaction=True)
def test_a_card_that_a_program_sends_as_a_number_reaches_no_row(thread: Thread, engine: Engine) -> None:
    fields: Any = {"config": {"configurable": {"card": 4242424242424242, "room": 7}}}
    run = runs.send_message(thread, thread.owner, "Hello", fields=fields)
    engine.perform(str(run.pk))
    run.refresh_from_db()

    assert run.status == RunStatus.SUCCESS
    assert config_of(run)["configurable"]["card"] == 4242424242424242
    assert places_of("4242424242424242") == []
