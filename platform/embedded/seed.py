"""What a new installation starts with: the assistants and the shop's rules, and on request demo people and orders.

Everything is made only where it is missing, so what an operator changed stays changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from accounts import roles
from accounts.models import User
from assistants.shop.models import Order
from django.apps import apps
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac
from runtime.models import Assistant, assistant_id_for

from embedded import paths
from embedded.demo_data import ASSISTANTS, ORDERS, PEOPLE, AssistantSeed, Person

SHOP = "shop"
RULES = {"refund_order": "Refunds wait for an approver", "send_email": "E-mails wait for an approver"}
SEEDED_PASSWORD = "demo-password-seeded"  # noqa: S105 (a file name: digest of the password last given out)


@dataclass
class Seeded:
    """How many rows were made."""

    assistants: int = 0
    rules: int = 0
    people: int = 0
    orders: int = 0


@transaction.atomic
def seed(home: Path, *, demo: bool) -> Seeded:
    """Makes what is missing. Safe to repeat.

    The rules come with the shop's assistant and with the demo, not at every start: a rule that an operator deleted is
    not brought back in production, and without a rule the sensitive tools are refused.
    """
    has_shop = Assistant.objects.filter(id=assistant_id_for(SHOP)).exists()
    made = Seeded(assistants=sum(map(_make_assistant, ASSISTANTS)))
    if demo or not has_shop:
        made.rules = _make_rules()
    if demo:
        made.people = _make_people(home)
        made.orders = _make_orders()
    return made


def _make_assistant(seed: AssistantSeed) -> int:
    wanted = {"name": seed.name, "description": seed.description, "starters": list(seed.starters)}
    _, is_new = Assistant.objects.get_or_create(
        id=assistant_id_for(seed.graph), defaults={"graph_id": seed.graph, **wanted}
    )
    return int(is_new)


def _make_rules() -> int:
    """One asking rule for each sensitive tool that no rule names yet."""
    if not apps.is_installed("apps.approvals"):
        return 0
    from apps.approvals.models import PolicyRule

    approvers = Group.objects.get(name=roles.APPROVERS)
    named = set(PolicyRule.objects.filter(tool__in=RULES).values_list("tool", flat=True))
    rules = [
        PolicyRule(name=name, tool=tool, verdict=PolicyRule.Verdict.ASK, approvers=approvers, priority=100)
        for tool, name in RULES.items()
        if tool not in named
    ]
    return len(PolicyRule.objects.bulk_create(rules))


def _make_people(home: Path) -> int:
    """The demo's people. A password that somebody changed stays, unless the demo password itself was changed."""
    password = paths.demo_password(home)
    known = User.objects.filter(username__in=[person.username for person in PEOPLE])
    present = set(known.values_list("username", flat=True))
    missing = [person for person in PEOPLE if person.username not in present]
    was_changed = _remember(home, password)
    if missing or was_changed:
        encoded = make_password(password)  # once: it is slow on purpose
        if was_changed:
            known.update(password=encoded)
        _add(missing, encoded)
    return len(missing)


def _add(people: Iterable[Person], encoded_password: str) -> None:
    for person in people:
        user = User.objects.create(
            username=person.username,
            email=f"{person.username}@example.com",
            password=encoded_password,
            is_staff=person.is_staff,
            is_superuser=person.is_superuser,
        )
        user.groups.set(Group.objects.filter(name__in=person.groups))


def _remember(home: Path, password: str) -> bool:
    """Keeps a digest of the demo password beside it; True when it replaced another."""
    file = home / SEEDED_PASSWORD
    digest = salted_hmac("embedded.seed", password, algorithm="sha256").hexdigest()
    before = file.read_text().strip() if file.exists() else ""
    if constant_time_compare(before, digest):
        return False
    paths.make_private(home)
    file.touch(mode=0o600)
    file.write_text(f"{digest}\n")
    return bool(before)


def _make_orders() -> int:
    present = set(Order.objects.values_list("number", flat=True))
    orders = [
        Order(
            number=number,
            customer=customer,
            email=f"{customer.split()[0].lower()}@example.com",
            status=status,
            items=items,
            total=Decimal(total),
        )
        for number, customer, status, total, items in ORDERS
        if number not in present
    ]
    return len(Order.objects.bulk_create(orders))
