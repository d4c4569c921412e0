"""The audit's pages: read by those who may, changed by nobody; and what people's own changes leave in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts import roles
from accounts.models import User
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from runtime import audit
from runtime.models import AuditEvent, ToolCall

from apps.approvals.models import PolicyRule
from tests.conftest import PASSWORD
from tests.support.chain import tamper

pytestmark = pytest.mark.django_db(transaction=True)

SignedIn = Callable[[User], Client]
LIST = "/admin/runtime/auditevent/"


@pytest.fixture
def event(thread: Any) -> AuditEvent:
    audit.append(
        "policy_rule.changed",
        subject=("policy_rule", "7"),
        before={"priority": 100},
        after={"priority": 5, "name": "<script>alert(1)</script>"},
        reason="as agreed",
    )
    return last("policy_rule.changed")


def last(action: str) -> AuditEvent:
    return AuditEvent.objects.filter(action=action).latest("seq")


# Pages


@pytest.mark.parametrize("who", ["dave", "admin"])
def test_those_who_may_view_see_list_and_event(
    request: pytest.FixtureRequest, signed_in: SignedIn, event: AuditEvent, who: str
) -> None:
    client = signed_in(request.getfixturevalue(who))

    assert "policy_rule.changed" in client.get(LIST).text
    page = client.get(reverse("admin:runtime_auditevent_change", args=[event.pk])).text
    assert event.hash in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("who", ["bob", "operator"])
def test_other_staff_do_not(
    request: pytest.FixtureRequest, signed_in: SignedIn, event: AuditEvent, who: str
) -> None:
    client = signed_in(request.getfixturevalue(who))

    for url in (LIST, reverse("admin:runtime_auditevent_change", args=[event.pk])):
        assert client.get(url).status_code == 403


def test_a_stranger_is_sent_to_the_door(signed_in: SignedIn, carol: User, event: AuditEvent) -> None:
    for url in (LIST, reverse("admin:runtime_auditevent_change", args=[event.pk])):
        assert signed_in(carol).get(url)["Location"].startswith("/admin/login/")


def test_not_even_a_superuser_changes_or_deletes_one(
    signed_in: SignedIn, admin: User, event: AuditEvent
) -> None:
    client = signed_in(admin)
    change = reverse("admin:runtime_auditevent_change", args=[event.pk])

    assert client.post(change, {"body": "{}"}).status_code == 403
    assert client.get(reverse("admin:runtime_auditevent_delete", args=[event.pk])).status_code == 403
    assert client.get(reverse("admin:runtime_auditevent_add")).status_code == 403
    assert 'value="delete_selected"' not in client.get(LIST).text


def test_it_filters_and_searches(signed_in: SignedIn, dave: User, event: AuditEvent) -> None:
    client = signed_in(dave)
    for query in ("?action=policy_rule.changed", "?subject_kind=policy_rule&subject_id=7", "?q=as+agreed"):
        assert client.get(LIST + query).context["cl"].result_count == 1, query
    assert client.get(LIST + "?q=nowhere").context["cl"].result_count == 0


def test_the_list_says_whether_the_chain_was_verified(
    signed_in: SignedIn, dave: User, event: AuditEvent
) -> None:
    client = signed_in(dave)
    assert "Nobody has verified the chain yet" in client.get(LIST).text
    call_command("verify_audit", verbosity=0)
    assert "the chain holds, to event" in client.get(LIST).text
    tamper(f"UPDATE runtime_auditevent SET body = replace(body, 'agreed', 'denied') WHERE id = {event.pk}")
    with pytest.raises(SystemExit):
        call_command("verify_audit", verbosity=0)
    assert f"the chain is broken. event {event.seq}: changed" in client.get(LIST).text


def test_a_tool_calls_page_lists_its_events_for_those_who_may_read_them(
    signed_in: SignedIn, dave: User, bob: User, make_call: Callable[..., ToolCall]
) -> None:
    page = reverse("admin:runtime_toolcall_change", args=[make_call().pk])

    assert "tool_call.proposed" in signed_in(dave).get(page).text
    assert "tool_call.proposed" not in signed_in(bob).get(page).text


# What is told of people


def test_signing_in_and_out_and_failing_to(alice: User) -> None:
    client = Client()
    client.post(reverse("login"), {"username": "alice", "password": "wrong"})
    failed = last("user.sign_in_failed")
    assert (failed.actor, failed.told["after"], failed.told["address"]) == (
        "",
        {"name": "alice"},
        "127.0.0.1",
    )
    client.post(
        reverse("login"), {"username": "alice", "password": PASSWORD}, headers={"X-Request-ID": "r-1"}
    )
    entered = last("user.signed_in")
    assert (entered.actor, entered.subject_id, entered.told["request_id"]) == ("alice", str(alice.pk), "r-1")
    client.post(reverse("logout"))
    assert last("user.signed_out").actor == "alice"
    assert PASSWORD not in "".join(AuditEvent.objects.values_list("body", flat=True))


def test_being_locked_out(alice: User) -> None:
    for _ in range(6):
        Client().post(reverse("login"), {"username": "alice", "password": "wrong"})

    assert last("user.locked_out").told["after"] == {"name": "alice"}


def test_an_address_that_is_only_claimed_is_not_believed(alice: User) -> None:
    forged = {"X-Forwarded-For": "9.9.9.9", "Request-Id": "forged"}
    Client().post(reverse("login"), {"username": "alice", "password": PASSWORD}, headers=forged)

    entered = last("user.signed_in")
    assert entered.told["address"] == "127.0.0.1"
    assert entered.told["request_id"] not in ("", "forged")


def test_rights_that_are_given_in_the_admin(signed_in: SignedIn, admin: User, carol: User) -> None:
    group = Group.objects.get(name=roles.AUDITORS)
    form = {
        "username": "carol",
        "email": "carol@example.com",
        "is_active": "on",
        "is_staff": "on",
        "groups": [group.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    answer = signed_in(admin).post(reverse("admin:accounts_user_change", args=[carol.pk]), form)
    assert answer.status_code == 302, answer.context["errors"]

    events = AuditEvent.objects.filter(action="user.changed", actor="admin", subject_id=str(carol.pk))
    told = [(event.told["before"], event.told["after"]) for event in events.order_by("seq")]
    assert ({"is_staff": False}, {"is_staff": True}) in told
    assert told[0][0] == {"is_staff": False}
    assert told[-1][1] == {"groups": ["Auditors"]}


def test_a_groups_permissions_and_members_from_either_side(alice: User, bob: User) -> None:
    group = Group.objects.create(name="Treasurers")
    permission = Permission.objects.get(codename="decide")
    group.permissions.add(permission)
    assert last("group.changed").told["after"] == {"permissions": ["decide.approvals.approvalrequest"]}
    group.user_set.add(alice)
    changed = last("user.changed")
    assert changed.subject_id == str(alice.pk)
    assert changed.told["after"] == {"groups": ["Chat users", "Treasurers"]}
    group.user_set.clear()
    assert last("user.changed").told["after"] == {"groups": ["Chat users"]}
    before = AuditEvent.objects.count()
    alice.groups.add(*alice.groups.all())  # changes nothing
    assert AuditEvent.objects.count() == before


def test_a_password_is_told_without_its_value(alice: User) -> None:
    alice.set_password("another battery staple")
    alice.save()

    changed = last("user.changed").told
    assert (changed["before"], changed["after"]) == ({"password": "***"}, {"password": "***"})


def test_seeing_somebody_in_changes_nothing_worth_telling(alice: User) -> None:
    before = AuditEvent.objects.count()
    alice.first_name = "Alice"
    alice.save()

    assert AuditEvent.objects.count() == before


def test_a_rule_from_its_making_to_its_end(bob: User) -> None:
    group = Group.objects.get(name=roles.APPROVERS)
    rule = PolicyRule.objects.create(name="Refunds wait", tool="refund_order", verdict="ask", approvers=group)
    assert last("policy_rule.created").told["after"]["verdict"] == "ask"
    rule.priority = "5"  # as a form might
    rule.is_enabled = False
    rule.save()
    changed = last("policy_rule.changed").told
    assert changed["before"] == {"is_enabled": True, "priority": 100}
    assert changed["after"] == {"is_enabled": False, "priority": 5}
    PolicyRule.objects.all().delete()
    deleted = last("policy_rule.deleted").told
    assert (deleted["subject"]["id"], deleted["before"]["name"]) == (str(rule.pk), "Refunds wait")


def test_an_export_of_tool_calls(signed_in: SignedIn, dave: User, make_call: Callable[..., ToolCall]) -> None:
    make_call()
    signed_in(dave).get(reverse("admin:runtime_toolcall_export_csv") + "?tool=refund_order")

    exported = last("tool_call.exported")
    assert (exported.actor, exported.told["after"]) == (
        "dave",
        {"filters": "tool=refund_order", "kind": "csv"},
    )


def test_a_replay(make_call: Callable[..., ToolCall]) -> None:
    call = make_call()
    call_command("replay", str(call.run_id), verbosity=0)

    assert last("run.replayed").subject_id == str(call.run_id)
