from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys
from accounts.exceptions import BadCredential, KeyEnded, TooManyKeys
from accounts.models import ApiKey, User
from accounts.scopes import Scope
from django.db import IntegrityError
from django.utils import timezone
from runtime.models import AuditEvent

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def made(owner: User, *scopes: Scope, lifetime: timedelta | None = DAY) -> tuple[ApiKey, str]:
    return keys.create_key(owner, "Nightly report", scopes or (Scope.CHAT,), lifetime)


def audited(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("seq"))


def test_a_key_finds_its_row_and_its_owner_in_one_query(
    alice: User, django_assert_num_queries: Callable[[int], Any]
) -> None:
    key, text = made(alice)
    keys.key_of(text)  # notes the use

    with django_assert_num_queries(1):
        found = keys.key_of(text)
        assert (found.pk, found.owner) == (key.pk, alice)


def test_the_database_holds_nothing_to_call_with(alice: User) -> None:
    key, text = made(alice)

    row = ApiKey.objects.filter(pk=key.pk).values().get()

    secret = text.rpartition("_")[2]
    assert len(secret) == 40
    assert all(secret not in str(value) for value in row.values())
    assert secret not in str(key)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text[:-1],
        lambda text: f"{text}a",
        lambda text: f"{text}\n",
        lambda text: f" {text}",
        lambda text: text.upper(),
        lambda text: "cs_000000000000_" + text.rpartition("_")[2],
        lambda text: "cs_%_" + text.rpartition("_")[2],
        lambda text: "",
        lambda text: "cs_\x00",
    ],
)
def test_what_is_not_the_key_is_nobodys(alice: User, change: Callable[[str], str]) -> None:
    _, text = made(alice)

    with pytest.raises(BadCredential):
        keys.key_of(change(text))


def test_an_expired_key_is_nobodys(alice: User) -> None:
    key, text = made(alice)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())

    with pytest.raises(BadCredential):
        keys.key_of(text)


def test_a_key_without_an_end_stays(alice: User) -> None:
    _, text = made(alice, lifetime=None)

    assert keys.key_of(text).expires_at is None


def test_a_revoked_key_is_nobodys_and_is_not_revoked_twice(alice: User) -> None:
    key, text = made(alice)

    keys.revoke_key(key)

    with pytest.raises(BadCredential):
        keys.key_of(text)
    with pytest.raises(KeyEnded):
        keys.revoke_key(key)
    assert len(audited("key.revoked")) == 1


def test_the_keys_of_who_was_switched_off_are_dead_at_once(alice: User) -> None:
    _, text = made(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    with pytest.raises(BadCredential):
        keys.key_of(text)


def test_rotating_ends_the_old_key(alice: User) -> None:
    key, text = made(alice, Scope.CHAT, Scope.AUDIT)

    successor, new_text = keys.rotate_key(key)

    with pytest.raises(BadCredential):
        keys.key_of(text)
    found = keys.key_of(new_text)
    assert found.pk == successor.pk
    assert (found.name, found.scopes, found.lifetime) == (key.name, ["chat", "audit"], DAY)
    key.refresh_from_db()
    assert key.status == "replaced"


def test_with_a_grace_the_old_key_works_on_and_no_longer(alice: User) -> None:
    key, text = made(alice, lifetime=None)

    keys.rotate_key(key, timedelta(hours=1))

    assert keys.key_of(text).status == "replaced_soon"
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    with pytest.raises(BadCredential):
        keys.key_of(text)


def test_a_grace_gives_no_key_a_longer_life(alice: User) -> None:
    key, _ = made(alice, lifetime=timedelta(hours=1))

    keys.rotate_key(key, timedelta(days=7))

    assert ApiKey.objects.get(pk=key.pk).expires_at == key.expires_at


def test_a_key_has_one_successor(alice: User) -> None:
    key, _ = made(alice)
    keys.rotate_key(key, DAY)

    with pytest.raises(KeyEnded):
        keys.rotate_key(key, DAY)
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize("change", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}])
def test_what_has_ended_is_not_brought_back_by_rotating(alice: User, change: dict[str, Any]) -> None:
    key, _ = made(alice)
    ApiKey.objects.filter(pk=key.pk).update(**change)

    with pytest.raises(KeyEnded):
        keys.rotate_key(key, DAY)


def test_use_is_noted_once_a_minute(alice: User, django_assert_num_queries: Callable[[int], Any]) -> None:
    key, text = made(alice)

    with django_assert_num_queries(2):
        keys.key_of(text)
    with django_assert_num_queries(1):
        keys.key_of(text)
    key.refresh_from_db()
    assert key.last_used_at is not None

    long_ago = timezone.now() - timedelta(minutes=2)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=long_ago)
    keys.key_of(text)
    key.refresh_from_db()
    assert key.last_used_at > long_ago


def test_a_person_has_only_so_many_keys(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEY_LIMIT", 2)
    first, _ = made(alice)
    made(alice)

    with pytest.raises(TooManyKeys):
        made(alice)
    keys.revoke_key(first)
    made(alice)


def test_a_key_for_nothing_can_t_be_stored(alice: User) -> None:
    with pytest.raises(IntegrityError):
        keys.create_key(alice, "nothing", [], DAY)


def test_the_audit_tells_of_keys_and_never_a_secret(alice: User) -> None:
    key, text = made(alice)
    successor, new_text = keys.rotate_key(key)
    keys.revoke_key(successor)

    created, rotated, revoked = (audited(f"key.{what}")[0] for what in ("created", "rotated", "revoked"))

    assert (created.subject_kind, created.subject_id) == ("api_key", str(key.pk))
    assert json.loads(created.body)["after"]["scopes"] == ["chat"]
    assert json.loads(rotated.body)["after"]["prefix"] == successor.prefix
    assert json.loads(revoked.body)["before"]["prefix"] == successor.prefix
    told = str([event.body for event in (created, rotated, revoked)])
    assert not any(each.rpartition("_")[2] in told for each in (text, new_text))


def test_a_key_that_can_t_be_audited_is_not_made(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no audit")

    monkeypatch.setattr("runtime.audit.receivers.append", fail)

    with pytest.raises(RuntimeError):
        made(alice)
    assert not ApiKey.objects.exists()
