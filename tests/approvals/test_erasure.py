"""Who alone could decide on something is not erased while it waits."""

from __future__ import annotations

from typing import Any

import pytest
from accounts.models import User
from runtime import erasure

from apps.approvals.models import Vote
from tests.support.decided import decided

pytestmark = pytest.mark.django_db


def test_an_approver_somebody_waits_for_stays(waiting: Any, alice: User, bob: User) -> None:
    waiting(alice)

    assert "wait for them and for nobody else" in erasure.obstacles(bob)[0]
    assert "not settled" in erasure.obstacles(alice)[0]


def test_with_another_approver_they_may_go(waiting: Any, alice: User, bob: User, ben: User) -> None:
    waiting(alice)

    assert erasure.obstacles(bob) == []


def test_what_they_decided_for_others_stays(waiting: Any, alice: User, bob: User) -> None:
    call = waiting(alice).tool_call
    assert decided(call, "rejected")
    votes = Vote.objects.count()

    erasure.erase(bob)

    assert Vote.objects.count() == votes
    assert not User.objects.filter(username="bob").exists()
