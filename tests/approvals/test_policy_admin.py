from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages

from apps.approvals.models import PolicyRule

RULES = "/admin/approvals/policyrule/"


def fields(**changes):
    return {
        "name": "Refunds",
        "is_enabled": "on",
        "assistant": "*",
        "tool": "refund_order",
        "priority": "5",
    } | changes


def test_saving_a_rule_says_what_it_means_and_is_recorded(admin, bob, signed_in):
    group = Group.objects.get(name="Approvers")

    answer = signed_in(admin).post(f"{RULES}add/", fields(verdict="ask", approvers=str(group.pk)))

    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert "From now on: refund_order of any assistant waits until Approvers decide." in told
    assert LogEntry.objects.filter(object_repr="Refunds", user=admin).exists()


def test_an_asking_rule_without_a_group_is_not_saved(admin, signed_in):
    answer = signed_in(admin).post(f"{RULES}add/", fields(verdict="ask"))

    assert "Say which group decides." in answer.content.decode()
    assert not PolicyRule.objects.exists()


@pytest.mark.parametrize("name", ["bob", "dave", "operator"])
def test_who_may_only_read_the_policy_can_not_change_it(request, rule, signed_in, name):
    client = signed_in(request.getfixturevalue(name))
    url = f"{RULES}{rule.pk}/change/"

    assert client.get(url).status_code == 200
    assert client.post(url, fields(verdict="allow")).status_code == 403
    assert client.post(f"{RULES}add/", fields(verdict="allow")).status_code == 403
    assert client.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"}).status_code == 403
    rule.refresh_from_db()
    assert rule.verdict == "ask"


def test_the_list_says_each_rule_as_a_sentence(admin, rule, signed_in):
    assert (
        "any tool of any assistant waits until Approvers decide."
        in signed_in(admin).get(RULES).content.decode()
    )
