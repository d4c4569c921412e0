"""Several at once: confirmed first, then one by one."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages

from apps.approvals.models import ApprovalRequest, PolicyRule, Risk
from tests.approvals.conftest import EMAIL, QUEUE, post


def chosen(kind, requests, *, confirmed=True, **fields):
    data = {"action": f"{kind}_selected", "_selected_action": [str(item.pk) for item in requests], **fields}
    if confirmed:
        data |= {"confirmed": "yes"} | {f"digest-{item.pk}": item.tool_call.args_digest for item in requests}
    return data


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def statuses(requests):
    return [ApprovalRequest.objects.get(pk=item.pk).status for item in requests]


def test_nothing_is_decided_before_it_is_confirmed(alice, carol, bob, waiting, signed_in):
    requests = [waiting(alice), waiting(carol)]

    answer = signed_in(bob).post(QUEUE, chosen("approve", requests, confirmed=False))

    assert answer.status_code == 200
    text = answer.content.decode()
    assert "Approve 2 requests" in text
    for item in requests:
        assert item.tool_call.args_digest in text
    assert statuses(requests) == ["pending", "pending"]


def test_all_but_my_own_are_approved_and_mine_is_named(alice, bob, waiting, signed_in):
    requests = [waiting(alice) for _ in range(19)]
    mine = waiting(bob)

    answer = signed_in(bob).post(QUEUE, chosen("approve", [*requests, mine]))

    assert statuses(requests) == ["approved"] * 19
    assert statuses([mine]) == ["pending"]
    [refused] = [text for text in told(answer) if text.startswith("Not decided")]
    assert "for bob" in refused
    assert "own run" in refused
    assert len(told(answer)) == 20


def test_all_are_rejected_for_one_reason(alice, carol, bob, waiting, signed_in):
    requests = [waiting(alice), waiting(carol, "send_email", EMAIL)]

    signed_in(bob).post(QUEUE, chosen("reject", requests, reason="closed today"))

    assert statuses(requests) == ["rejected", "rejected"]
    assert ApprovalRequest.objects.get(pk=requests[0].pk).reason == "closed today"


def test_a_rejection_needs_its_reason(alice, bob, waiting, signed_in):
    requests = [waiting(alice)]

    answer = signed_in(bob).post(QUEUE, chosen("reject", requests, reason=" "))

    assert answer.status_code == 422
    assert statuses(requests) == ["pending"]


def test_a_call_that_was_cut_off_is_left_out(alice, bob, waiting, cut_off, signed_in):
    requests = [waiting(alice), cut_off(alice)]

    answer = signed_in(bob).post(QUEUE, chosen("approve", requests))

    assert statuses(requests) == ["approved", "pending"]
    assert any("own page" in text for text in told(answer))


def test_one_decided_meanwhile_is_named(alice, carol, bob, ben, waiting, signed_in):
    requests = [waiting(alice), waiting(carol)]
    post(signed_in(ben), requests[0], "reject", reason="no")

    answer = signed_in(bob).post(QUEUE, chosen("approve", requests))

    assert statuses(requests) == ["rejected", "approved"]
    assert any("already decided: rejected by ben" in text for text in told(answer))


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_only_the_arguments_that_were_listed_run(alice, bob, waiting, signed_in, digest):
    requests = [waiting(alice)]

    signed_in(bob).post(QUEUE, chosen("approve", requests) | {f"digest-{requests[0].pk}": digest})

    assert statuses(requests) == ["pending"]


def test_calls_of_several_tools_are_not_approved_together(alice, bob, waiting, signed_in):
    requests = [waiting(alice), waiting(alice, "send_email", EMAIL)]

    answer = signed_in(bob).post(QUEUE, chosen("approve", requests))

    assert statuses(requests) == ["pending", "pending"]
    assert "one tool" in told(answer)[0]


def test_at_most_fifty_are_decided_together(alice, bob, waiting, signed_in):
    requests = [waiting(alice) for _ in range(51)]

    answer = signed_in(bob).post(QUEUE, chosen("approve", requests))

    assert set(statuses(requests)) == {"pending"}
    assert "At most 50" in told(answer)[0]


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_an_action_that_was_not_offered_does_nothing(alice, dave, waiting, signed_in, kind):
    requests = [waiting(alice)]
    client = signed_in(dave)

    assert f"{kind}_selected" not in client.get(QUEUE).content.decode()
    client.post(QUEUE, chosen(kind, requests, reason="because"))

    assert statuses(requests) == ["pending"]


def test_it_takes_no_notice_of_ids_that_are_none(bob, signed_in):
    data = {"action": "approve_selected", "_selected_action": ["not-an-id"], "confirmed": "yes"}

    assert signed_in(bob).post(QUEUE, data).status_code in (200, 302)


def by_another_rule(item, name="night"):
    rule = PolicyRule.objects.create(name=name, verdict="ask", approvers=item.approvers, is_enabled=False)
    ApprovalRequest.objects.filter(pk=item.pk).update(rule=rule)
    return item


def of_high_risk(item):
    ApprovalRequest.objects.filter(pk=item.pk).update(risk=Risk.HIGH)
    return item


def test_what_is_of_high_risk_is_approved_by_itself(alice, carol, bob, waiting, signed_in):
    requests = [of_high_risk(waiting(alice)), waiting(carol)]
    client = signed_in(bob)

    page = client.post(QUEUE, chosen("approve", requests, confirmed=False)).content.decode()
    answer = client.post(QUEUE, chosen("approve", requests))

    assert "Approve 1 request?" in page
    assert "High risk: decide it by itself" in page
    assert statuses(requests) == ["pending", "approved"]
    [refused] = [text for text in told(answer) if text.startswith("Not decided")]
    assert "for alice" in refused
    assert "High risk: decide it by itself" in refused


def test_what_another_rule_asks_for_is_approved_in_another_go(alice, carol, bob, waiting, signed_in):
    requests = [waiting(alice), by_another_rule(waiting(carol)), waiting(carol)]
    client = signed_in(bob)

    page = client.post(QUEUE, chosen("approve", requests, confirmed=False)).content.decode()
    client.post(QUEUE, chosen("approve", requests))

    assert "Approve 2 requests?" in page
    assert "Another rule asks for this one, night" in page
    assert statuses(requests) == ["approved", "pending", "approved"]


def test_what_the_page_left_out_stays_out_when_the_first_is_gone(
    alice, carol, bob, ben, rule, waiting, signed_in
):
    requests = [waiting(alice), by_another_rule(waiting(carol))]
    client = signed_in(bob)
    page = client.post(QUEUE, chosen("approve", requests, confirmed=False)).content.decode()
    assert f'name="rule" value="{rule.pk}"' in page
    post(signed_in(ben), requests[0], "reject", reason="no")

    client.post(QUEUE, chosen("approve", requests, rule=str(rule.pk)))

    assert statuses(requests) == ["rejected", "pending"]


def test_all_of_them_are_rejected_whatever_their_rule_and_risk(alice, carol, bob, waiting, signed_in):
    requests = [of_high_risk(waiting(alice)), by_another_rule(waiting(carol)), waiting(carol)]

    signed_in(bob).post(QUEUE, chosen("reject", requests, reason="closed today"))

    assert statuses(requests) == ["rejected"] * 3
