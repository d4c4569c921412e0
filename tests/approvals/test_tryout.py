"""The policy asked without consequences."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.utils import timezone
from runtime.models import AuditEvent, ToolCall

from apps.approvals import tryout
from apps.approvals.models import Condition, PolicyRule

from .test_policy_admin import RULES, fields, rows

TRY = f"{RULES}try/"


def everything() -> dict[str, Any]:
    """All rows of both apps, to see that nothing was written; that somebody signed in is audited."""
    models = [*apps.get_app_config("approvals").get_models(), *apps.get_app_config("runtime").get_models()]
    return {
        model.__name__: sorted(str(row) for row in model.objects.values())
        for model in models
        if model != AuditEvent
    }


@pytest.fixture
def big(rule):
    """Refunds over 100 are denied; everything else waits."""
    made = PolicyRule.objects.create(name="big ones", verdict="deny", tool="refund_*", priority=50)
    Condition.objects.create(rule=made, argument="amount", operator="more than", value="100")
    return made


@pytest.fixture
def tried(assistant, bob, signed_in):
    def post(user=bob, **changes: Any) -> Any:
        given = {"assistant": str(assistant.pk), "tool": "refund_order", "arguments": "{}", "requester": ""}
        return signed_in(user).post(TRY, given | changes)

    return post


def test_it_says_which_rule_a_call_would_meet_and_why(big, tried):
    answer = tried(arguments='{"amount": "1e3"}')

    html = " ".join(answer.content.decode().split())
    assert "Verdict: deny" in html
    assert "refund_* of any assistant is refused. Only if: amount is more than 100." in html
    assert "holds" in html
    assert "found: <code>&quot;1e3&quot;</code>" in html
    assert answer.context["result"].rule == big
    assert [(match.rule.name, match.matches) for match in answer.context["result"].matches] == [
        ("big ones", True),
        ("all wait", True),
    ]


def test_it_says_why_a_rule_does_not_match(big, tried):
    html = " ".join(tried(arguments='{"amount": 5}').content.decode().split())

    assert "Verdict: ask a person" in html
    assert "does not hold" in html
    assert "It is about another tool or assistant." in " ".join(
        tried(tool="send_email").content.decode().split()
    )


def test_it_says_what_can_not_be_told_or_read(big, tried):
    assert "can't be told, the riskier answer counts:" in tried().content.decode()

    big.conditions.update(value="much")
    assert "This needs a number, such as 100 or 59.90." in tried().content.decode()


def test_it_says_what_becomes_of_a_call_no_rule_is_about(tried, alice, proposed):
    assert "it is denied" in tried().content.decode()

    proposed(alice, tool="look_up", args={}, sensitive=False)
    assert "it runs" in tried(tool="look_up").content.decode()


def test_it_tries_as_another_requester(tried, alice, rule):
    Condition.objects.create(rule=rule, argument="requester.group", operator="is", value="Chat users")

    assert "Verdict: deny" in tried().content.decode()
    assert "Verdict: ask a person" in tried(requester="alice").content.decode()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arguments": "[1]"}, "Write a JSON object"),
        ({"arguments": '{"a": 1, "a": 2}'}, "Write a JSON object"),
        ({"arguments": '{"a": NaN}'}, "Write a JSON object"),
        ({"arguments": "{" * 50_000}, "Write a JSON object"),
        ({"requester": "zoe"}, "Nobody signs in as zoe."),
        ({"tool": ""}, "This field is required."),
        ({"assistant": "00000000-0000-0000-0000-000000000000"}, "Select a valid choice"),
    ],
)
def test_it_says_what_is_wrong_with_the_form(tried, changes, told):
    answer = tried(**changes)

    assert told in answer.content.decode()
    assert "result" not in answer.context


def test_trying_writes_nothing(big, tried, alice, proposed):
    Condition.objects.create(rule=big, argument="sum.amount.today", operator="more than", value="10")
    proposed(alice)
    before = everything()

    assert tried(arguments='{"amount": 5}', requester="alice").status_code == 200

    assert everything() == before


@pytest.mark.parametrize("name", ["bob", "dave", "operator", "admin"])
def test_whoever_may_view_rules_may_try(request, rule, tried, signed_in, name):
    user = request.getfixturevalue(name)

    assert signed_in(user).get(TRY).status_code == 200
    assert "Verdict: ask a person" in tried(user).content.decode()


def test_the_arguments_of_a_call_are_taken(alice, bob, proposed, signed_in):
    call = proposed(alice, args={"amount": "59.90"})
    client = signed_in(bob)

    assert f"?call={call.pk}" in client.get(TRY).content.decode()
    form = client.get(f"{TRY}?call={call.pk}").context["form"]

    assert json.loads(form["arguments"].value()) == {"amount": "59.90"}
    assert form["requester"].value() == "alice"
    assert client.get(f"{TRY}?call=nonsense").status_code == 200


def test_calls_are_shown_only_to_who_may_see_them(alice, person, proposed, signed_in):
    call = proposed(alice, args={"amount": "59.90"})
    reader = person("rita", staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename="view_policyrule"))
    client = signed_in(reader)

    assert str(call.pk) not in client.get(TRY).content.decode()
    assert "59.90" not in client.get(f"{TRY}?call={call.pk}").content.decode()


# --- what a change would have changed ----------------------------------------------------------------------


@pytest.fixture
def compared(admin, rule, signed_in):
    """The form of `rule` posted with changes: asks Approvers about everything."""
    group = Group.objects.get(name="Approvers")

    def post(*, url: str = f"{RULES}{rule.pk}/compare/", user: Any = admin, **changes: Any) -> Any:
        posted = fields(verdict="ask", approvers=str(group.pk), name=rule.name, tool="*", priority="100")
        return signed_in(user).post(url, posted | changes)

    return post


def lines(answer: Any) -> list[tuple[Any, str, str]]:
    return [(line.call.pk, line.before, line.after) for line in answer.context["lines"]]


def test_it_lists_the_calls_another_verdict_would_have_met(alice, waiting, compared):
    small = waiting(alice, args={"amount": "5"})
    big = waiting(alice, args={"amount": "500"})

    answer = compared(**rows("conditions", ("amount", "more than", "100")))

    html = answer.content.decode()
    assert lines(answer) == [(small.tool_call.pk, "ask a person", "deny")]
    assert "1 of 2 calls would have met another verdict" in html
    assert f"/admin/approvals/approvalrequest/{small.pk}/change/" in html
    assert str(big.pk) not in html
    assert "Only if: amount is more than 100." in html


def test_nothing_is_saved(alice, rule, waiting, compared):
    waiting(alice)
    before = everything()

    assert lines(compared(verdict="allow"))[0][1:] == ("ask a person", "allow")
    assert everything() == before


def test_a_new_rule_is_tried_among_the_others(alice, rule, proposed, compared):
    call = proposed(alice)
    url = f"{RULES}add/compare/"

    assert lines(compared(url=url, verdict="deny", name="new", priority="900")) == [
        (call.pk, "ask a person", "deny")
    ]
    assert lines(compared(url=url, verdict="allow", name="new", priority="900")) == []
    assert lines(compared(url=url, verdict="allow", name="new", priority="1")) == [
        (call.pk, "ask a person", "allow")
    ]


def test_a_rule_switched_off_is_left_out(alice, proposed, compared):
    call = proposed(alice)

    assert lines(compared(is_enabled="")) == [(call.pk, "ask a person", "deny")]


def test_conditions_ticked_for_deletion_are_left_out(alice, rule, proposed, compared):
    row = Condition.objects.create(rule=rule, argument="amount", operator="more than", value="1000")
    call = proposed(alice)
    posted = rows("conditions", ("amount", "more than", "1000")) | {
        "conditions-INITIAL_FORMS": "1",
        "conditions-0-id": str(row.pk),
        "conditions-0-rule": str(rule.pk),
    }

    assert lines(compared(**posted)) == []
    assert lines(compared(**posted, **{"conditions-0-DELETE": "on"})) == [(call.pk, "deny", "ask a person")]
    assert rule.conditions.count() == 1


def test_calls_are_judged_as_proposed_and_at_their_time(alice, rule, proposed, compared):
    """A sum of then, not of now."""
    now = timezone.now()
    calls = []
    for days in (3, 3, 1):
        call = proposed(alice, args={"amount": "60"})
        moment = now - timedelta(days=days, minutes=len(calls))
        ToolCall.objects.filter(pk=call.pk).update(
            created_at=moment, started_at=moment, state="done", args={"amount": "9999"}
        )
        calls.append(call)
    rule.delete()

    ToolCall.objects.filter(pk__in=[call.pk for call in calls]).update(args={"amount": "60"})
    answer = compared(
        url=f"{RULES}add/compare/", **rows("conditions", ("sum.amount.today", "more than", "100"))
    )

    assert lines(answer) == [(calls[0].pk, "deny", "ask a person")]


def test_it_looks_at_a_week_and_says_when_it_is_cut(alice, proposed, compared, monkeypatch):
    old = proposed(alice)
    ToolCall.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    proposed(alice)
    assert len(lines(compared(verdict="deny"))) == 1

    monkeypatch.setattr(tryout, "NEWEST", 2)
    assert "only the newest 2" not in compared(verdict="deny").content.decode()
    proposed(alice)
    proposed(alice)
    answer = compared(verdict="deny")
    assert len(lines(answer)) == 2
    assert "only the newest 2" in answer.content.decode()


def test_without_calls_it_says_so(compared):
    assert "No tool was called in the last 7 days" in compared().content.decode()


def test_a_form_that_could_not_be_saved_is_not_tried(compared):
    answer = compared(approvers="", **rows("conditions", ("amount", "more than", "much")))

    assert answer.status_code == 422
    html = answer.content.decode()
    assert "Say which group decides." in html
    assert "This needs a number, such as 100 or 59.90." in html


def test_it_is_posted_only_and_about_a_rule_there_is(admin, rule, signed_in, compared):
    assert signed_in(admin).get(f"{RULES}{rule.pk}/compare/").status_code == 405
    assert compared(url=f"{RULES}999999/compare/").status_code == 404


def test_an_editor_who_may_not_see_calls_gets_numbers_only(alice, person, proposed, compared):
    proposed(alice)
    editor = person("erin", staff=True)
    editor.user_permissions.set(Permission.objects.filter(codename="change_policyrule"))

    answer = compared(user=editor, verdict="deny")

    assert "1 of 1 calls would have met another verdict" in answer.content.decode()
    assert "59.90" not in answer.content.decode()


def test_two_thousand_calls_take_as_many_queries_as_two(alice, proposed, rule, django_assert_max_num_queries):
    from apps.approvals.matching import Candidate

    for _ in range(30):
        proposed(alice)
    row = Condition(argument="sum.amount.today", operator="more than", value="100000")
    new = PolicyRule(name="new", verdict="deny")

    with django_assert_max_num_queries(6):
        assert tryout.compared(None, Candidate(new, [row])).looked_at == 30
