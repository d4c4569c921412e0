"""An export is checked by a program that knows nothing of the product, and finds every way to alter the file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings
from runtime import audit
from runtime.audit import signing, verify_export
from runtime.audit.verify_export import Broken, check_file
from runtime.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def key(settings: Settings, tmp_path: Path) -> Path:
    settings.AUDIT_KEY, settings.AUDIT_KEY_IS_OURS = str(tmp_path / "key.pem"), True
    return tmp_path / "key.pem"


@pytest.fixture
def lines() -> list[str]:
    for name in "abcde":
        audit.append(f"test.{name}", subject=("test", name), after={"text": "line\nbreak, 退款"})
    return exported()


def exported(*args: str) -> list[str]:
    out = io.StringIO()
    call_command("export_audit", *args, stdout=out)
    return out.getvalue().splitlines(keepends=True)


def edited(line: str, **fields: Any) -> str:
    return json.dumps({**json.loads(line), **fields}, ensure_ascii=False) + "\n"


def resealed(lines: list[str]) -> list[str]:
    """The chain computed anew, as who has the file but not the key could."""
    previous, sealed = "", []
    for line in lines[:-1]:
        link = verify_export.Link(**{**json.loads(line), "previous": previous})
        previous = link.digest()
        sealed.append(edited(line, previous=link.previous, hash=previous))
    head = json.loads(lines[-1])
    return [*sealed, edited(lines[-1], head={**head["head"], "hash": previous})]


def other_key() -> bytes:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def run_verifier(file: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """In an empty folder, isolated: it can import nothing of ours."""
    program = Path(verify_export.__file__)
    return subprocess.run(
        [sys.executable, "-I", program, file, "--key", key],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )


def test_it_verifies_alone(lines: list[str], tmp_path: Path) -> None:
    file, public = tmp_path / "audit.jsonl", tmp_path / "public.pem"
    file.write_text("".join(lines))
    public.write_text(signing.public_key())

    done = run_verifier(file, public)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "5 events, to event 5: every link holds, the head is signed.\n"

    file.write_text("".join([*lines[:2], *lines[3:]]))
    done = run_verifier(file, public)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("event 3: missing")


ALTERED: dict[str, tuple[Callable[[list[str]], list[str]], int, str]] = {
    "a body": (lambda ls: [*ls[:2], ls[2].replace("test.c", "test.x"), *ls[3:]], 3, "changed"),
    "a time": (lambda ls: [edited(ls[0], at="2020-01-01T00:00:00.000000Z"), *ls[1:]], 1, "changed"),
    "a hash": (lambda ls: [*ls[:4], edited(ls[4], hash="0" * 64), ls[5]], 5, "changed"),
    "one gone": (lambda ls: [*ls[:2], *ls[3:]], 3, "missing"),
    "the first gone": (lambda ls: ls[1:], 1, "missing"),
    "two swapped": (lambda ls: [ls[0], ls[2], ls[1], *ls[3:]], 2, "reordered"),
    "two renumbered": (
        lambda ls: [ls[0], edited(ls[2], seq=2), edited(ls[1], seq=3), *ls[3:]],
        2,
        "reordered",
    ),
    "one twice": (lambda ls: [*ls[:2], ls[1], *ls[2:]], 2, "reordered"),
    "the tail cut": (lambda ls: ls[:3], 4, "cut"),
    "the tail cut before the head": (lambda ls: [*ls[:3], ls[5]], 4, "cut"),
    "all but the head": (lambda ls: ls[5:], 1, "cut"),
    "an empty file": (lambda ls: [], 0, "cut"),
    "more after the head": (lambda ls: [*ls, ls[4]], 5, "changed"),
    "a line that is no JSON": (lambda ls: [ls[0], "nonsense\n", *ls[1:]], 2, "changed"),
    "a field more": (lambda ls: [edited(ls[0], extra=1), *ls[1:]], 0, "changed"),
    "a field's type": (lambda ls: [edited(ls[0], seq="1"), *ls[1:]], 0, "changed"),
    "the head": (lambda ls: [*ls[:5], ls[5].replace('"count": 5', '"count": 4')], 5, "unsigned"),
    "the signature": (lambda ls: [*ls[:5], edited(ls[5], signature="AAAA")], 5, "unsigned"),
    "no signature": (lambda ls: [*ls[:5], edited(ls[5], signature=None)], 5, "unsigned"),
    "a chain made anew": (
        lambda ls: resealed([*ls[:2], ls[2].replace("test.c", "test.x"), *ls[3:]]),
        5,
        "unsigned",
    ),
    "a chain made anew with the old head": (
        lambda ls: [*resealed([*ls[:2], ls[2].replace("test.c", "test.x"), *ls[3:]])[:-1], ls[-1]],
        5,
        "changed",
    ),
}


@pytest.mark.parametrize("how", ALTERED)
def test_it_finds_what_was_altered(lines: list[str], how: str) -> None:
    alter, seq, kind = ALTERED[how]

    with pytest.raises(Broken) as broken:
        check_file(alter(lines), signing.public_key().encode())
    assert (broken.value.seq, broken.value.kind) == (seq, kind)


def test_another_key_does_not_do(lines: list[str]) -> None:
    with pytest.raises(Broken, match="unsigned"):
        check_file(lines, other_key())


def test_a_part_verifies_from_the_hash_before_it(lines: list[str]) -> None:
    part = exported("--since", "2", "--until", "4")
    head = check_file(part, signing.public_key().encode())

    assert (head["after"], head["seq"], head["count"]) == (1, 4, 3)
    assert head["previous"] == json.loads(lines[0])["hash"]


def test_an_export_is_told_in_the_audit(lines: list[str]) -> None:
    event = AuditEvent.objects.get(action="audit.exported")

    assert event.told["after"] == {"since": 1, "until": 5}


def test_what_is_not_there_is_not_exported(lines: list[str]) -> None:
    with pytest.raises(CommandError, match="events 1 to 6"):
        exported("--since", "9")


def test_verify_audit_checks_a_file_too(lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    call_command("export_audit", "--output", file)
    call_command("verify_audit", "--file", file, stdout=io.StringIO())
    file.write_text(file.read_text().replace("test.b", "test.x"))

    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("verify_audit", "--file", file, stdout=out)
    assert out.getvalue().startswith("event 2: changed")


def test_the_key_is_made_once_and_for_its_owner_only(key: Path) -> None:
    first = signing.public_key()

    assert signing.public_key() == first
    assert key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in first


def test_a_given_key_is_never_made(settings: Settings, key: Path) -> None:
    settings.AUDIT_KEY_IS_OURS = False
    with pytest.raises(ImproperlyConfigured, match="COUNTERSIGN_AUDIT_KEY"):
        signing.public_key()

    given = Ed25519PrivateKey.generate()
    key.write_bytes(given.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert signing.public_key().encode() == given.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
