from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from runtime.models import Assistant, assistant_id_for

from apps.approvals.models import PolicyRule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _home(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Callable[..., User]
) -> None:
    settings.HOME = tmp_path
    monkeypatch.setenv("COUNTERSIGN_DEMO_PASSWORD", "first password")
    person("somebody").delete()  # the roles are there


def seed(*, demo: bool = False) -> str:
    out = io.StringIO()
    call_command("seed", demo=demo, stdout=out)
    return out.getvalue()


def test_it_makes_the_assistants_and_the_shops_rules() -> None:
    assert seed() == "Made 3 assistants, 2 rules, 0 people, 0 orders.\n"
    made = {each.graph_id: each for each in Assistant.objects.all()}
    assert set(made) == {"shop", "analyser", "writer"} <= set(settings.COUNTERSIGN_GRAPHS)
    assert all(each.pk == assistant_id_for(graph) for graph, each in made.items())
    assert {graph: len(each.starters) for graph, each in made.items()} == {
        "shop": 4,
        "analyser": 2,
        "writer": 3,
    }
    rules = PolicyRule.objects.values_list("tool", "verdict", "approvers__name", "priority")
    assert set(rules) == {("refund_order", "ask", "Approvers", 100), ("send_email", "ask", "Approvers", 100)}
    assert not User.objects.exists()


def test_the_demo_has_people_in_their_roles() -> None:
    seed(demo=True)
    people = {user.username: user for user in User.objects.all()}
    assert set(people) == {"alice", "bob", "carol", "admin"}
    assert people["alice"].has_perm("runtime.add_thread")
    assert not people["carol"].is_staff
    assert people["bob"].is_staff
    assert people["bob"].has_perm("approvals.decide")
    assert people["admin"].is_superuser
    assert all(user.check_password("first password") for user in people.values())


def test_the_demo_has_orders() -> None:
    seed(demo=True)
    order = Order.objects.get(number=1042)
    assert (str(order.total), order.currency, order.status) == ("59.90", "EUR", "delivered")
    assert Order.objects.count() == 12


def test_a_second_seed_makes_nothing() -> None:
    seed(demo=True)
    assert seed(demo=True) == "Made 0 assistants, 0 rules, 0 people, 0 orders.\n"


def test_what_an_operator_changed_stays() -> None:
    seed(demo=True)
    Assistant.objects.update(name="Store", starters=[])
    PolicyRule.objects.filter(tool="send_email").update(name="Mail", is_enabled=False)
    User.objects.filter(username="alice").update(is_active=False)
    Order.objects.filter(number=1042).update(refunded="59.90")
    seed(demo=True)
    assert set(Assistant.objects.values_list("name", flat=True)) == {"Store"}
    assert not PolicyRule.objects.get(tool="send_email").is_enabled
    assert not User.objects.get(username="alice").is_active
    assert str(Order.objects.get(number=1042).refunded) == "59.90"


def test_a_deleted_rule_stays_deleted_outside_the_demo() -> None:
    seed()
    PolicyRule.objects.all().delete()
    Assistant.objects.exclude(graph_id="shop").delete()  # as an installation that is older than they are
    assert seed() == "Made 2 assistants, 0 rules, 0 people, 0 orders.\n"
    assert not PolicyRule.objects.exists()


def test_a_changed_password_stays() -> None:
    seed(demo=True)
    alice = User.objects.get(username="alice")
    alice.set_password("my own")
    alice.save()
    seed(demo=True)
    alice.refresh_from_db()
    assert alice.check_password("my own")


def test_a_new_demo_password_reaches_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    seed(demo=True)
    monkeypatch.setenv("COUNTERSIGN_DEMO_PASSWORD", "second password")
    seed(demo=True)
    assert all(user.check_password("second password") for user in User.objects.all())


def test_it_keeps_no_password_in_plain_text(tmp_path: Path) -> None:
    seed(demo=True)
    (kept,) = tmp_path.iterdir()
    assert "first password" not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_people_that_exist_are_left_alone(person: Callable[..., User]) -> None:
    person("bob")
    seed(demo=True)
    bob = User.objects.get(username="bob")
    assert not bob.is_staff
    assert not bob.check_password("first password")


def test_it_needs_the_roles() -> None:
    Group.objects.all().delete()
    with pytest.raises(Group.DoesNotExist):
        seed()
