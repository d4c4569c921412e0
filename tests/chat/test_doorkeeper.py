"""Many sockets ask together, and each is told what holds for its own reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from accounts.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from runtime.models import Thread

from apps.chat.doorkeeper import NOT_FOUND, SIGNED_OUT, Reader, refusal_of, refusals

SignedIn = Callable[[User], Client]


def reader(client: Client, thread: Thread) -> Reader:
    return Reader(client.session.session_key or "", thread.pk)


@pytest.mark.django_db
def test_each_is_told_what_holds_for_it(
    thread: Thread,
    alice: User,
    bob: User,
    signed_in: SignedIn,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    hers, strangers = signed_in(alice), signed_in(bob)
    bobs = Thread.objects.create(owner=bob, assistant=thread.assistant)
    gone = Thread.objects.create(owner=alice, assistant=thread.assistant)
    gone.withdraw_from_owner()
    expected = {
        reader(hers, thread): 0,
        reader(strangers, thread): NOT_FOUND,
        reader(hers, bobs): NOT_FOUND,
        reader(hers, gone): NOT_FOUND,
        Reader(reader(hers, thread).session_key, uuid4()): NOT_FOUND,
        Reader("", thread.pk): SIGNED_OUT,
        Reader("nobody", thread.pk): SIGNED_OUT,
    }

    with django_assert_num_queries(4):
        assert refusals(list(expected)) == expected


@pytest.mark.django_db(transaction=True)
async def test_those_who_ask_at_once_are_answered_by_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def counted(readers: set[Reader]) -> dict[Reader, int]:
        looks.append(len(readers))
        return refusals(readers)

    monkeypatch.setattr("apps.chat.doorkeeper.refusals", counted)
    readers = [Reader(f"session {number}", uuid4()) for number in range(50)]

    assert await asyncio.gather(*map(refusal_of, readers)) == [SIGNED_OUT] * 50
    assert looks == [50]
