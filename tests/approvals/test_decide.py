"""Decisions from the decision page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from accounts import roles
from django.db import connection
from django.test import Client
from runtime import decisions, ledger
from runtime.exceptions import AlreadyDecided
from runtime.models import Run, ToolCall

from tests.approvals.conftest import QUEUE, decide_url, edited, fresh, page_of, post


@pytest.mark.parametrize(
    ("question", "kind", "status", "state"),
    [
        ("waiting", "approve", "approved", "approved"),
        ("waiting", "edit", "approved", "approved"),
        ("waiting", "respond", "responded", "responded"),
        ("waiting", "reject", "rejected", "rejected"),
        ("cut_off", "approve", "approved", "approved"),
        ("cut_off", "respond", "responded", "responded"),
        ("cut_off", "reject", "rejected", "failed"),
    ],
)
def test_each_decision_does_what_it_says(request, alice, bob, signed_in, question, kind, status, state):
    approval = request.getfixturevalue(question)(alice)
    texts = {"note": "a note", "answer": "an answer", "reason": "a reason"}

    answer = post(
        signed_in(bob), approval, kind, **texts, **(edited(amount="10.00") if kind == "edit" else {})
    )

    assert answer.status_code == 302
    approval = fresh(approval)
    call = approval.tool_call
    assert (approval.status, call.state, call.decision) == (status, state, kind)
    assert approval.decided_by == call.decided_by == bob
    assert call.reason == {"reject": "a reason", "respond": "an answer"}.get(kind, "a note")
    assert Run.objects.filter(thread=call.thread, status="pending", command__isnull=False).count() == 1


def test_an_edit_runs_what_was_entered_and_keeps_what_was_proposed(alice, bob, waiting, signed_in):
    approval = waiting(alice)

    post(signed_in(bob), approval, "edit", **edited(amount="10.00", order_number="7"))

    call = fresh(approval).tool_call
    assert call.args == {"order_number": 7, "amount": "10.00", "reason": "broken"}
    assert call.args_digest == ledger.digest(call.args)
    assert call.proposed_args["amount"] == "59.90"


def test_the_answer_becomes_the_tools_result(alice, bob, waiting, signed_in):
    approval = waiting(alice)

    post(signed_in(bob), approval, "respond", answer="Already refunded.\r\nYesterday.")

    assert fresh(approval).tool_call.result == "Already refunded.\nYesterday."


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("reject", {}),
        ("reject", {"reason": "   "}),
        ("respond", {"answer": ""}),
        ("shred", {}),
        ("", {}),
        ("edit", edited(amount="-5")),
        ("edit", edited(order_number="many")),
        ("edit", {**edited(), "arg-tool": "wipe_disk"}),
        ("approve", edited(amount="1.00")),  # changed, then the wrong button
        ("approve", {"note": "nul\x00"}),
    ],
)
def test_what_can_not_be_carried_out_is_asked_again(alice, bob, waiting, signed_in, kind, fields):
    approval = waiting(alice)

    answer = post(signed_in(bob), approval, kind, **fields)

    assert answer.status_code == 422
    assert "Nothing was decided" in answer.content.decode()
    assert fresh(approval).is_pending


def test_what_was_entered_is_still_there_after_an_error(alice, bob, waiting, signed_in):
    approval = waiting(alice)

    answer = post(signed_in(bob), approval, "edit", note="my note", **edited(amount="-5"))

    text = answer.content.decode()
    assert 'value="-5"' in text
    assert "my note" in text
    assert 'id="change" open' in text


def test_changes_stay_in_sight_when_the_wrong_button_was_pressed(alice, bob, waiting, signed_in):
    text = post(signed_in(bob), waiting(alice), "approve", **edited(amount="10.00")).content.decode()

    assert "You changed Amount." in text
    assert 'value="10.00"' in text
    assert 'id="change" open' in text


def test_after_an_error_each_change_is_shown_against_the_call_as_it_stands(alice, bob, waiting, signed_in):
    approval = waiting(alice)

    answer = post(signed_in(bob), approval, "edit", **edited(amount="-3", reason="broken"))

    assert answer.status_code == 422
    text = answer.content.decode()
    assert """data-original="&quot;59.90&quot;">as it stands: <code>59.90</code>""" in text
    assert """data-original="&quot;broken&quot;" hidden>""" in text


def test_an_edit_of_a_call_that_was_cut_off_is_refused(alice, bob, cut_off, signed_in):
    approval = cut_off(alice)

    assert post(signed_in(bob), approval, "edit", **edited(amount="1.00")).status_code == 422
    assert fresh(approval).is_pending


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_arguments_that_were_not_shown_are_not_approved(alice, bob, waiting, signed_in, digest):
    approval = waiting(alice)

    answer = post(signed_in(bob), approval, "approve", digest=digest)

    assert answer.status_code == 409
    assert "changed since you looked" in answer.content.decode()
    assert fresh(approval).is_pending


def test_the_second_decision_is_told_who_and_when(alice, bob, ben, waiting, signed_in):
    approval = waiting(alice)
    post(signed_in(bob), approval, "reject", reason="no")

    answer = post(signed_in(ben), approval, "approve")

    assert answer.status_code == 409
    assert "already decided: rejected by bob" in answer.content.decode()
    assert fresh(approval).decided_by == bob


def test_a_page_never_answers_a_later_question(alice, bob, ben, waiting, signed_in):
    """ben still shows "may it run?"; meanwhile it was approved, ran, and was cut off."""
    approval = waiting(alice)
    post(signed_in(bob), approval, "approve")
    call = fresh(approval).tool_call
    call.advance("running")
    call.advance("unknown")

    assert post(signed_in(ben), approval, "approve").status_code == 409
    call.refresh_from_db()
    assert call.state == "unknown"


def test_after_a_decision_comes_the_next_that_waits(alice, carol, bob, waiting, signed_in):
    first, second = waiting(alice), waiting(carol)
    client = signed_in(bob)

    answer = post(client, first, "approve")
    assert answer["Location"] == page_of(second)
    told = client.get(answer["Location"]).content.decode()
    assert "Approved: refund_order (order_number 1042, amount &quot;59.90&quot;" in told.replace(
        "&#x27;", "'"
    )
    assert post(client, second, "reject", reason="no")["Location"] == QUEUE


def test_getting_never_decides(alice, bob, waiting, signed_in):
    approval = waiting(alice)
    client = signed_in(bob)

    answer = client.get(
        decide_url(approval), {"decision": "approve", "digest": approval.tool_call.args_digest}
    )

    assert answer.status_code == 405
    assert client.head(decide_url(approval)).status_code == 405
    assert fresh(approval).is_pending


def test_a_decision_without_the_csrf_token_is_refused(alice, bob, waiting):
    approval = waiting(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")

    assert post(client, approval, "approve").status_code == 403
    assert fresh(approval).is_pending


def test_further_fields_change_nothing(alice, bob, dave, waiting, signed_in):
    approval = waiting(alice)

    post(
        signed_in(bob),
        approval,
        "reject",
        reason="no",
        status="approved",
        state="done",
        decided_by=str(dave.pk),
        tool="wipe_disk",
        user=str(bob.pk),
    )

    approval = fresh(approval)
    assert (approval.status, approval.decided_by) == ("rejected", bob)
    assert (approval.tool_call.tool, approval.tool_call.user) == ("refund_order", alice)


@pytest.mark.parametrize("name", ["bob", "admin"])
def test_the_admins_own_forms_change_nothing(request, alice, waiting, signed_in, name):
    approval = waiting(alice)
    client = signed_in(request.getfixturevalue(name))

    assert client.post(page_of(approval), {"status": "approved", "_save": "1"}).status_code == 405
    assert client.post(f"{QUEUE}{approval.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{QUEUE}add/", {"status": "approved"}).status_code == 403
    client.post(QUEUE, {"action": "delete_selected", "_selected_action": str(approval.pk), "post": "yes"})
    assert fresh(approval).is_pending


def test_a_request_that_does_not_exist_is_not_found(bob, signed_in):
    missing = "7d0e3a52-3f3c-4a39-8f4f-3a2d2f6f8f10"

    assert signed_in(bob).post(f"{QUEUE}{missing}/decide/", {"decision": "approve"}).status_code in (403, 404)


def test_the_page_shows_what_came_of_it(alice, bob, waiting, signed_in):
    approval = waiting(alice)
    post(signed_in(bob), approval, "approve", note="checked the photo")
    call = fresh(approval).tool_call
    call.advance("running")
    call.advance("done", result="refund 17 made")

    text = signed_in(bob).get(page_of(approval)).content.decode()

    assert 'name="decision"' not in text
    assert "checked the photo" in text
    assert "refund 17 made" in text


@pytest.mark.django_db(transaction=True)
def test_of_eight_at_once_exactly_one_wins(person, waiting):
    alice = person("alice", roles.CHAT_USERS)
    approval = waiting(alice)
    people = [person(f"approver{number}", roles.APPROVERS, staff=True) for number in range(8)]

    def decide(user):
        try:
            decisions.decide(user, approval.tool_call_id, {"type": "approve"})
        except AlreadyDecided:
            return None
        else:
            return user
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        winners = [user for user in pool.map(decide, people) if user]

    assert len(winners) == 1
    call = ToolCall.objects.get(pk=approval.tool_call_id)
    assert (call.state, call.decided_by) == ("approved", winners[0])
    assert Run.objects.filter(thread=call.thread, command__isnull=False).count() == 1
