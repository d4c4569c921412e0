"""A request that is sent again is carried out once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from accounts.models import User
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import RequestFactory
from runtime import idempotency, runs
from runtime.exceptions import BadRequestKey, RuntimeRefusal
from runtime.idempotency import Named
from runtime.models import Assistant, RequestKey, Run, RunStatus, Thread

from tests.support.threads import together

pytestmark = pytest.mark.django_db(transaction=True)


def saying(thread: Thread, text: str = "hello") -> Callable[[], Run]:
    return lambda: runs.send_message(thread, thread.owner, text)


def a_request(user: User, key: str = "k", digest: str = "d") -> Named:
    return Named(user, key, digest)


def test_the_same_request_gets_the_same_run(thread: Thread) -> None:
    first = idempotency.once(a_request(thread.owner), saying(thread))
    again = idempotency.once(a_request(thread.owner), saying(thread))

    assert (first.is_again, again.is_again, again.run.pk) == (False, True, first.run.pk)
    assert Run.objects.count() == 1


def test_without_a_key_each_is_a_request_of_its_own(thread: Thread) -> None:
    for _ in range(2):
        assert not idempotency.once(None, saying(thread)).is_again
    assert (Run.objects.count(), RequestKey.objects.count()) == (2, 0)


def test_another_request_may_not_take_its_key(thread: Thread) -> None:
    idempotency.once(a_request(thread.owner), saying(thread))

    with pytest.raises(BadRequestKey, match="another request"):
        idempotency.once(a_request(thread.owner, digest="other"), saying(thread))
    assert Run.objects.count() == 1


def test_another_persons_key_is_another_key(thread: Thread, carol: User, assistant: Assistant) -> None:
    idempotency.once(a_request(thread.owner), saying(thread))
    carols = Thread.objects.create(owner=carol, assistant=assistant)

    assert idempotency.once(a_request(carol, digest="other"), saying(carols)).run.user_id == carol.pk


def test_of_many_at_one_instant_one_is_carried_out(alice: User, assistant: Assistant) -> None:
    """Each would make a thread of its own, so that nothing but the key is in the way."""
    found: list[Any] = []

    def begin() -> Run:
        with transaction.atomic():
            return saying(Thread.objects.create(owner=alice, assistant=assistant))()

    errors = together(*[lambda: found.append(idempotency.once(a_request(alice), begin))] * 8)

    assert errors == []
    assert {each.run.pk for each in found} == {Run.objects.get().pk}
    assert [each.is_again for each in found].count(False) == 1
    assert Thread.objects.count() == 1


def test_what_was_refused_may_be_sent_again(thread: Thread, settings: Any) -> None:
    settings.QUEUE_LIMIT = 0
    with pytest.raises(RuntimeRefusal):
        idempotency.once(a_request(thread.owner), saying(thread))
    settings.QUEUE_LIMIT = 10

    assert not idempotency.once(a_request(thread.owner), saying(thread)).is_again


def test_who_comes_second_is_told_of_the_first_whatever_is_in_the_way(thread: Thread) -> None:
    """Its twin was first after it had looked, and now the thread is busy."""

    def late() -> Run:
        idempotency.once(a_request(thread.owner), saying(thread))
        raise RuntimeRefusal("busy")

    assert idempotency.once(a_request(thread.owner), late).is_again
    assert Run.objects.count() == 1


def test_a_run_that_was_not_committed_leaves_no_key(thread: Thread) -> None:
    def crash() -> Run:
        with transaction.atomic():
            saying(thread)()
            raise ConnectionError

    with pytest.raises(ConnectionError):
        idempotency.once(a_request(thread.owner), crash)
    assert (Run.objects.count(), RequestKey.objects.count()) == (0, 0)


def test_a_run_that_was_committed_is_found_though_nobody_was_answered(thread: Thread) -> None:
    def crash() -> Run:
        saying(thread)()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        idempotency.once(a_request(thread.owner), crash)

    assert idempotency.once(a_request(thread.owner), saying(thread)).run == Run.objects.get()


def test_after_a_day_a_key_is_free_and_cleaned_up(thread: Thread) -> None:
    idempotency.once(a_request(thread.owner), saying(thread))
    idempotency.once(a_request(thread.owner, "young"), saying(thread))
    RequestKey.objects.filter(key="k").update(created_at=Now() - idempotency.KEPT - timedelta(seconds=1))

    assert not idempotency.once(a_request(thread.owner, digest="other"), saying(thread)).is_again
    RequestKey.objects.update(created_at=Now() - idempotency.KEPT - timedelta(seconds=1))
    assert list(idempotency.delete_expired(batch_size=1)) == [1, 1]
    assert Run.objects.filter(status=RunStatus.PENDING).count() == 3


@pytest.mark.parametrize("key", ["", "a" * 256, "ü", "a\tb", "\x7f"])
def test_a_key_is_printable_and_short(alice: User, key: str) -> None:
    request = RequestFactory().post(
        "/", "{}", content_type="application/json", headers={"Idempotency-Key": key}
    )

    with pytest.raises(BadRequestKey, match="255"):
        idempotency.named(request, alice)


def test_the_same_json_is_the_same_request_and_another_path_is_not(alice: User) -> None:
    def digest(path: str, body: str) -> str:
        headers = {"Idempotency-Key": "k" * 255}
        request = RequestFactory().post(path, body, content_type="application/json", headers=headers)
        named = idempotency.named(request, alice)
        assert named is not None
        return named.digest

    assert digest("/a", '{"b": 1, "c": [2]}') == digest("/a", '{"c":[2],"b":1}')
    assert len({digest("/a", '{"b": 1}'), digest("/b", '{"b": 1}'), digest("/a", '{"b": true}')}) == 3


def test_the_database_decides() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'request_key_once'"
        )
        assert cursor.fetchone() == ("UNIQUE (user_id, key)",)
