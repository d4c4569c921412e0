from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages

from apps.approvals.models import Condition, EditBound, PolicyRule, RuleVersion

RULES = "/admin/approvals/policyrule/"
EVERY = ["approve", "edit", "respond", "reject"]


def fields(**changes):
    """What the form sends, as its page is first shown, with `changes`."""
    return {
        "name": "Refunds",
        "is_enabled": "on",
        "assistant": "*",
        "tool": "refund_order",
        "priority": "5",
        "risk": "2",
        "quorum": "1",
        "on_expiry": "reject",
        "decisions": EVERY,
        **rows("conditions"),
        **rows("bounds"),
    } | changes


def rows(prefix, *given):
    """The rows of an inline form: (argument, operator, value)."""
    posted = {f"{prefix}-TOTAL_FORMS": str(len(given)), f"{prefix}-INITIAL_FORMS": "0"}
    for number, row in enumerate(given):
        names = ("argument", "operator", "value")
        posted |= {f"{prefix}-{number}-{name}": text for name, text in zip(names, row, strict=True)}
    return posted


@pytest.fixture
def approvers(admin):
    return Group.objects.get(name="Approvers")


@pytest.fixture
def saved(admin, signed_in):
    def save(**changes):
        answer = signed_in(admin).post(f"{RULES}add/", fields(**changes))
        return answer, " ".join(str(message) for message in get_messages(answer.wsgi_request))

    return save


def test_saving_a_rule_says_what_it_means_and_is_recorded(admin, approvers, signed_in):
    answer = signed_in(admin).post(f"{RULES}add/", fields(verdict="ask", approvers=str(approvers.pk)))

    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert "From now on: refund_order of any assistant waits until Approvers decide." in told
    assert LogEntry.objects.filter(object_repr="Refunds", user=admin).exists()


def test_an_asking_rule_without_a_group_is_not_saved(admin, signed_in):
    answer = signed_in(admin).post(f"{RULES}add/", fields(verdict="ask"))

    assert "Say which group decides." in answer.content.decode()
    assert not PolicyRule.objects.exists()


def test_an_asking_rule_may_name_people_or_the_requester_instead(saved, bob):
    saved(verdict="ask", people=[str(bob.pk)])
    saved(verdict="ask", requester_confirms="on", name="Own risk")

    assert list(PolicyRule.objects.get(name="Refunds").people.all()) == [bob]
    assert PolicyRule.objects.get(name="Own risk").requester_confirms


def test_more_approvals_than_people_are_not_asked_for(saved, bob):
    answer, _ = saved(verdict="ask", people=[str(bob.pk)], quorum="2")

    assert "Fewer people than that are named" in answer.content.decode()


def test_who_is_not_staff_is_not_named(saved, alice):
    answer, _ = saved(verdict="ask", people=[str(alice.pk)])

    assert "people" in answer.context["adminform"].form.errors
    assert not PolicyRule.objects.exists()


def test_an_asking_rule_offers_at_least_one_decision(saved, approvers):
    answer, _ = saved(verdict="ask", approvers=str(approvers.pk), decisions=[])
    assert "Tick what those who decide may choose from." in answer.content.decode()

    saved(verdict="deny", decisions=[])
    assert PolicyRule.objects.get().decisions == EVERY


def test_all_of_a_rule_is_saved_and_said(saved, approvers):
    finance = Group.objects.create(name="Finance")

    _, told = saved(
        verdict="ask",
        approvers=str(approvers.pk),
        quorum="2",
        expires_after="30",
        remind_after="10",
        on_expiry="escalate",
        escalate_to=str(finance.pk),
        decisions=["approve", "edit", "reject"],
        needs_reason="on",
        **rows("conditions", ("amount", "more than", "100"), ("reason", "is not", "broken")),
        **rows("bounds", ("amount", "at most", "100")),
    )

    assert "waits until 2 of Approvers approve, at most 30 minutes." in told
    assert "Only if: amount is more than 100; reason is not broken." in told
    assert "Then Finance are asked. They are reminded after 10 minutes." in told
    assert "They may only: approve, approve with changes, reject." in told
    assert "They may change only: amount is at most 100. Approving needs a reason." in told
    rule = PolicyRule.objects.get()
    assert [row.as_list() for row in rule.conditions.all()] == [
        ["amount", "more than", "100"],
        ["reason", "is not", "broken"],
    ]
    assert [row.as_list() for row in rule.bounds.all()] == [["amount", "at most", "100"]]


@pytest.mark.parametrize(
    ("prefix", "row", "told"),
    [
        ("conditions", ("amount", "more than", "much"), "This needs a number"),
        ("conditions", ("requester.age", "is", "3"), "There is no requester.age."),
        ("conditions", ("time.weekday", "is", "someday"), "Write weekdays as monday to sunday"),
        ("bounds", ("time.hour", "is", "3"), "Only arguments of the tool can be edited."),
    ],
)
def test_a_row_that_can_not_be_compared_is_not_saved(saved, prefix, row, told):
    answer, _ = saved(verdict="deny", **rows(prefix, row))

    assert told in answer.content.decode()
    assert not PolicyRule.objects.exists()


def test_the_page_shows_conditions_bounds_and_meaning(admin, rule, signed_in):
    Condition.objects.create(rule=rule, argument="amount", operator="more than", value="100")
    EditBound.objects.create(rule=rule, argument="amount", operator="at most", value="100")

    html = signed_in(admin).get(f"{RULES}{rule.pk}/change/").content.decode()

    assert "Only if: amount is more than 100." in html
    assert "They may change only: amount is at most 100." in html
    for heading in ("What it is about", "Who decides", "What they may do", "When nobody decides"):
        assert heading in html


@pytest.mark.parametrize("name", ["bob", "dave", "operator"])
def test_who_may_only_read_the_policy_can_not_change_it(request, rule, signed_in, name):
    Condition.objects.create(rule=rule, argument="amount", operator="more than", value="100")
    client = signed_in(request.getfixturevalue(name))
    url = f"{RULES}{rule.pk}/change/"

    page = client.get(url)
    assert page.status_code == 200
    assert "Only if: amount is more than 100." in page.content.decode()
    assert "Try on last week" not in page.content.decode()
    more = rows("conditions", ("amount", "is", "1"))
    assert client.post(url, fields(verdict="allow", **more)).status_code == 403
    assert client.post(f"{RULES}add/", fields(verdict="allow")).status_code == 403
    assert client.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{RULES}{rule.pk}/compare/", fields(verdict="allow")).status_code == 403
    assert client.post(f"{RULES}add/compare/", fields(verdict="allow")).status_code == 403
    rule.refresh_from_db()
    assert rule.verdict == "ask"
    assert rule.conditions.count() == 1


def test_who_may_change_rules_may_change_their_rows(rule, approvers, person, signed_in):
    """Without the permissions Django has for each inline's own model."""
    editor = person("erin", staff=True)
    editor.user_permissions.set(
        Permission.objects.filter(codename__in=["view_policyrule", "change_policyrule"])
    )
    posted = fields(verdict="ask", approvers=str(approvers.pk), name=rule.name)
    more = rows("conditions", ("amount", "more than", "7"))

    answer = signed_in(editor).post(f"{RULES}{rule.pk}/change/", posted | more)

    assert answer.status_code == 302
    assert rule.conditions.get().value == "7"


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_strangers_see_no_rule(request, rule, client, signed_in, name):
    version = rule.version()
    if name == "alice":
        client = signed_in(request.getfixturevalue("alice"))
    urls = [
        RULES,
        f"{RULES}{rule.pk}/change/",
        f"{RULES}try/",
        f"{RULES}{rule.pk}/compare/",
        f"{RULES}add/compare/",
    ]
    for url in [*urls, f"/admin/approvals/ruleversion/{version.pk}/change/"]:
        for answer in (client.get(url), client.post(url, fields(verdict="allow"))):
            assert answer.status_code == 302
            assert "login" in answer["Location"]


def test_staff_without_a_role_sees_no_rule(rule, person, signed_in):
    client = signed_in(person("frank", staff=True))
    version = rule.version()

    for url in (RULES, f"{RULES}{rule.pk}/change/", f"{RULES}try/"):
        assert client.get(url).status_code == 403
    assert client.post(f"{RULES}try/", {}).status_code == 403
    assert client.post(f"{RULES}{rule.pk}/compare/", fields(verdict="allow")).status_code == 403
    assert client.get(f"/admin/approvals/ruleversion/{version.pk}/change/").status_code == 403


def test_the_list_says_each_rule_as_a_sentence(admin, rule, signed_in):
    assert (
        "any tool of any assistant waits until Approvers decide."
        in signed_in(admin).get(RULES).content.decode()
    )


def test_the_list_takes_as_many_queries_with_ten_rules_as_with_one(
    admin, rule, approvers, signed_in, django_assert_max_num_queries
):
    client = signed_in(admin)
    client.get(RULES)
    for n in range(10):
        more = PolicyRule.objects.create(name=f"r{n}", verdict="ask", approvers=approvers)
        Condition.objects.create(rule=more, argument="amount", operator="more than", value="1")

    with django_assert_max_num_queries(20):
        assert client.get(RULES).content.decode().count("Only if: amount") == 10


# --- versions ----------------------------------------------------------------------------------------------


@pytest.fixture
def versions(rule):
    """Of a rule that was used, changed, and used again."""
    first = rule.version()
    rule.quorum, rule.needs_reason = 2, True
    rule.save()
    Condition.objects.create(rule=rule, argument="amount", operator="more than", value="100")
    return first, PolicyRule.objects.get(pk=rule.pk).version()


@pytest.mark.parametrize("name", ["bob", "dave", "operator", "admin"])
def test_a_rules_versions_are_listed_with_what_changed(request, rule, versions, signed_in, name):
    html = signed_in(request.getfixturevalue(name)).get(f"{RULES}{rule.pk}/change/").content.decode()

    assert "approvals needed: <del>1</del> → <ins>2</ins>" in html
    assert "approving needs a reason: <del>no</del> → <ins>yes</ins>" in html
    assert "conditions: <del>none</del> → <ins>amount is more than 100</ins>" in html
    for version in versions:
        assert f"/admin/approvals/ruleversion/{version.pk}/change/" in html


def test_a_version_says_all_it_said_and_can_not_be_changed(admin, versions, signed_in):
    client = signed_in(admin)
    url = f"/admin/approvals/ruleversion/{versions[1].pk}/change/"

    html = client.get(url).content.decode()

    assert "<dt>approvers</dt><dd>Approvers</dd>" in html
    assert "<dt>conditions</dt><dd>amount is more than 100</dd>" in html
    assert client.post(url, {"number": "9"}).status_code == 403
    assert client.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert sorted(RuleVersion.objects.values_list("number", flat=True)) == [1, 2]


def test_a_version_outlives_its_rule_and_group(admin, rule, versions, signed_in):
    rule.delete()
    Group.objects.get(name="Approvers").delete()

    html = signed_in(admin).get(f"/admin/approvals/ruleversion/{versions[1].pk}/change/").content.decode()

    assert "<dt>approvers</dt><dd>a group that is gone</dd>" in html
