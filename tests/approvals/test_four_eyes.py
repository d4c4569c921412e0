"""A change of the policy that takes two, where the installation wants that."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import IntegrityError, transaction
from runtime.exceptions import AlreadyDecided, DecisionRefused
from runtime.models import AuditEvent

from apps.approvals import four_eyes
from apps.approvals.models import Condition, EditBound, PolicyRule, RuleChange
from tests.approvals.test_policy_admin import RULES, fields, rows

CHANGES = "/admin/approvals/rulechange/"


@pytest.fixture(autouse=True)
def two_have_to_agree(settings):
    settings.POLICY_FOUR_EYES = True


@pytest.fixture
def second(person):
    """Another administrator."""
    return person("root2", staff=True, superuser=True)


@pytest.fixture
def viewer(person):
    viewer = person("vera", staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_policyrule"))
    return viewer


@pytest.fixture
def refunds(bob):
    made = PolicyRule.objects.create(name="Refunds", tool="refund_order", verdict="ask", priority=5)
    made.people.add(bob)
    Condition.objects.create(rule=made, argument="amount", operator="more than", value="10")
    return made


def told(answer):
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def audited(action):
    return AuditEvent.objects.filter(body__contains=f'"{action}"').count()


def page(rule):
    return f"{RULES}{rule.pk}/change/"


def kept(rule, **changes):
    """The form of `refunds` as it stands, with `changes`."""
    [row] = rule.conditions.all()
    held = {
        **rows("versions"),
        **rows("conditions", (row.argument, row.operator, row.value)),
        "conditions-INITIAL_FORMS": "1",
        "conditions-0-id": str(row.pk),
        "conditions-0-rule": str(rule.pk),
    }
    people = [str(pk) for pk in rule.people.values_list("pk", flat=True)]
    return fields(**{"verdict": "ask", "may_be_granted": "on", "people": people, **held, **changes})


def settle(client, change, how, **more):
    return client.post(f"{CHANGES}{change.pk}/settle/", {"settle": how, **more})


def test_a_change_takes_effect_when_a_second_person_countersigns(admin, second, bob, ben, refunds, signed_in):
    was, written = four_eyes.whole(refunds), audited("policy_rule.changed")
    changes = {"conditions-0-value": "1000", "people": [str(bob.pk), str(ben.pk)], "priority": "1"}
    changes |= rows("bounds", ("amount", "at most", "50"))

    answer = signed_in(admin).post(page(refunds), kept(refunds, **changes))

    assert answer.status_code == 302
    assert "It takes effect when somebody else countersigns it" in told(answer)
    assert "From now on" not in told(answer)
    assert four_eyes.whole(refunds) == was
    assert not LogEntry.objects.exists()
    change = RuleChange.objects.get()
    assert (change.kind, change.status, change.proposed_by) == ("change", "proposed", admin)
    assert audited("rule.proposed") == 1
    assert audited("policy_rule.changed") == written

    client = signed_in(second)
    assert "A change of this rule waits" in client.get(page(refunds)).content.decode()
    text = client.get(f"{CHANGES}{change.pk}/change/").content.decode()
    assert "<del>amount is more than 10</del> → <ins>amount is more than 1000</ins>" in text
    assert "Only if: amount is more than 1000." in text
    assert settle(client, change, "countersign", reason="agreed").status_code == 302

    refunds.refresh_from_db()
    assert refunds.priority == 1
    assert [str(row) for row in refunds.conditions.all()] == ["amount is more than 1000"]
    assert [str(row) for row in EditBound.objects.filter(rule=refunds)] == ["amount is at most 50"]
    assert set(refunds.people.all()) == {bob, ben}
    change.refresh_from_db()
    assert (change.status, change.settled_by, change.reason) == ("countersigned", second, "agreed")
    assert four_eyes.whole(refunds) == change.after
    assert audited("rule.countersigned") == 1
    assert audited("policy_rule.changed") > written


def test_nobody_countersigns_their_own_proposal(admin, refunds, signed_in):
    client = signed_in(admin)
    client.post(page(refunds), kept(refunds, priority="1"))
    change = RuleChange.objects.get()

    assert 'value="countersign"' not in client.get(f"{CHANGES}{change.pk}/change/").content.decode()
    assert "Nobody countersigns what they proposed themselves" in told(settle(client, change, "countersign"))
    with pytest.raises(DecisionRefused):
        four_eyes.countersign(admin, change.pk)
    with pytest.raises(IntegrityError, match="rule_change_by_two"), transaction.atomic():
        RuleChange.objects.update(status="countersigned", settled_by=admin)

    refunds.refresh_from_db()
    assert refunds.priority == 5


def test_who_may_not_change_rules_countersigns_none(
    admin, second, viewer, bob, carol, dave, refunds, signed_in
):
    signed_in(admin).post(page(refunds), kept(refunds, priority="1"))
    change = RuleChange.objects.get()

    for someone in (viewer, bob, dave):
        client = signed_in(someone)
        assert client.get(f"{CHANGES}{change.pk}/change/").status_code == 200
        for how in ("countersign", "decline"):
            assert "permission to change rules is missing" in told(settle(client, change, how))
    assert signed_in(carol).get(CHANGES).status_code == 302
    assert settle(signed_in(carol), change, "countersign").url.startswith("/admin/login/")
    second.is_active = False
    second.save()
    with pytest.raises(DecisionRefused):
        four_eyes.countersign(second, change.pk)

    change.refresh_from_db()
    assert change.status == "proposed"


def test_staff_who_may_not_see_rules_see_no_changes_of_them(admin, person, refunds, signed_in):
    signed_in(admin).post(page(refunds), kept(refunds, priority="1"))
    change = RuleChange.objects.get()
    client = signed_in(person("stan", staff=True))

    assert client.get(CHANGES).status_code == 403
    assert client.get(f"{CHANGES}{change.pk}/change/").status_code == 403
    assert settle(client, change, "countersign").status_code == 403


def test_a_declined_change_changes_nothing(admin, second, refunds, signed_in):
    signed_in(admin).post(page(refunds), kept(refunds, is_enabled=""))
    change = RuleChange.objects.get()

    settle(signed_in(second), change, "decline", reason="we need it")

    refunds.refresh_from_db()
    assert refunds.is_enabled
    change.refresh_from_db()
    assert (change.status, change.reason) == ("declined", "we need it")
    assert audited("rule.declined") == 1
    assert "settled before" in told(settle(signed_in(second), change, "countersign"))


def test_a_new_rule_waits_too(admin, second, bob, signed_in):
    given = fields(verdict="allow", **rows("conditions", ("amount", "less than", "5")))
    signed_in(admin).post(f"{RULES}add/", given)
    assert not PolicyRule.objects.exists()

    settle(signed_in(second), RuleChange.objects.get(), "countersign")

    rule = PolicyRule.objects.get()
    assert (rule.name, rule.verdict) == ("Refunds", "allow")
    assert [str(row) for row in rule.conditions.all()] == ["amount is less than 5"]
    assert RuleChange.objects.get().rule == rule


@pytest.mark.parametrize("door", ["page", "list"])
def test_a_deletion_waits_too(admin, second, refunds, signed_in, door):
    client = signed_in(admin)
    if door == "page":
        client.post(f"{RULES}{refunds.pk}/delete/", {"post": "yes"})
    else:
        client.post(RULES, {"action": "delete_selected", "_selected_action": [refunds.pk], "post": "yes"})
    change = RuleChange.objects.get()
    assert (change.kind, change.after) == ("delete", None)
    assert PolicyRule.objects.filter(pk=refunds.pk).exists()
    assert not LogEntry.objects.exists()

    settle(signed_in(second), change, "countersign")

    assert not PolicyRule.objects.exists()
    assert RuleChange.objects.get().status == "countersigned"


def test_one_change_of_a_rule_at_a_time(admin, second, refunds, signed_in):
    client = signed_in(admin)
    client.post(page(refunds), kept(refunds, priority="1"))

    assert "Another change of this rule waits" in told(
        client.post(page(refunds), kept(refunds, priority="2"))
    )
    assert RuleChange.objects.count() == 1


def test_nothing_is_proposed_where_nothing_changes(admin, refunds, signed_in):
    assert "Nothing was changed" in told(signed_in(admin).post(page(refunds), kept(refunds)))
    assert not RuleChange.objects.exists()


def test_a_rule_that_has_changed_since_is_left_alone(admin, second, refunds, signed_in):
    signed_in(admin).post(page(refunds), kept(refunds, priority="1"))
    PolicyRule.objects.update(verdict="deny")

    with pytest.raises(AlreadyDecided, match="has changed since"):
        four_eyes.countersign(second, RuleChange.objects.get().pk)


def test_a_name_that_was_taken_meanwhile_is_said(admin, second, signed_in):
    signed_in(admin).post(f"{RULES}add/", fields(verdict="allow"))
    PolicyRule.objects.create(name="Refunds", verdict="deny")
    change = RuleChange.objects.get()

    assert "already exists" in told(settle(signed_in(second), change, "countersign"))
    assert PolicyRule.objects.get().verdict == "deny"


def test_without_the_setting_a_change_takes_effect_at_once(admin, refunds, signed_in, settings):
    settings.POLICY_FOUR_EYES = False
    signed_in(admin).post(page(refunds), kept(refunds, priority="1"))

    refunds.refresh_from_db()
    assert refunds.priority == 1
    assert not RuleChange.objects.exists()
