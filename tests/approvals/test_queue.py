"""The list: what it shows, finds, and costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest
from tests.approvals.conftest import QUEUE, page_of, post

NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp.exe\u202c a\u200bb \x07 {{ 7|add:1 }}"
)


def names(answer):
    return [str(row.tool_call.user) for row in answer.context["cl"].result_list]


def test_it_shows_what_waits_oldest_first(alice, carol, bob, waiting, signed_in):
    first, decided, last = waiting(alice), waiting(carol), waiting(carol)
    post(signed_in(bob), decided, "approve")

    answer = signed_in(bob).get(QUEUE)

    assert [row.pk for row in answer.context["cl"].result_list] == [first.pk, last.pk]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?status=all", {"alice", "carol"}),
        ("?status=approved", {"carol"}),
        ("?status=decided", {"carol"}),
        ("?mine=no", {"alice"}),
        ("?risk__exact=2", {"alice"}),
        ("?risk__exact=3", set()),
        ("?tool=send_email", {"alice"}),
        ("?tool=refund_order", set()),
        ("?question=outcome", set()),
        ("?q=ali", {"alice"}),
        ("?q=ada@example", {"alice"}),
        ("?q=send_e", {"alice"}),
        ("?q=nothing", set()),
        ("?mine=yes", {"alice"}),
        ("?group=0", set()),
    ],
)
def test_it_filters_and_searches(alice, carol, bob, waiting, signed_in, query, found):
    waiting(alice, "send_email")
    post(signed_in(bob), waiting(carol), "approve")

    assert set(names(signed_in(bob).get(f"{QUEUE}{query}"))) == found


def test_mine_leaves_out_my_own_runs(bob, alice, waiting, signed_in):
    waiting(bob)
    waiting(alice)

    assert names(signed_in(bob).get(f"{QUEUE}?mine=yes")) == ["alice"]


def test_who_may_decide_begins_with_what_waits_for_them(bob, dave, alice, waiting, signed_in):
    waiting(bob)
    waiting(alice)

    assert names(signed_in(bob).get(QUEUE)) == ["alice"]
    assert names(signed_in(bob).get(f"{QUEUE}?mine=no")) == ["bob", "alice"]
    assert names(signed_in(dave).get(QUEUE)) == ["bob", "alice"]


@pytest.mark.parametrize(
    ("query", "tab"),
    [("", "My queue"), ("?q=x", "My queue"), ("?mine=no", "All waiting"), ("?status=expired", "Decided")],
)
def test_one_tab_is_open(bob, signed_in, query, tab):
    answer = signed_in(bob).get(f"{QUEUE}{query}")

    assert [each.label for each in answer.context["tabs"] if each.is_open] == [tab]


def test_filters_and_search_go_along_to_another_tab(bob, signed_in):
    answer = signed_in(bob).get(f"{QUEUE}?q=ada&tool=send_email&mine=no&p=1")

    assert [each.query for each in answer.context["tabs"]] == [
        "?tool=send_email&q=ada",
        "?tool=send_email&q=ada&mine=no",
        "?tool=send_email&q=ada&status=decided",
    ]


def test_risk_comes_first_then_what_expires_then_age(alice, bob, waiting, signed_in):
    now = timezone.now()
    old, never, soon, later, grave = (waiting(alice) for _ in range(5))
    fields = {
        soon: {"expires_at": now + timedelta(minutes=5)},
        later: {"expires_at": now + timedelta(minutes=50)},
        grave: {"risk": 3},
        old: {"risk": 1},
    }
    for request, values in fields.items():
        ApprovalRequest.objects.filter(pk=request.pk).update(**values)

    answer = signed_in(bob).get(QUEUE)

    assert [row.pk for row in answer.context["cl"].result_list] == [
        request.pk for request in (grave, soon, later, never, old)
    ]
    asked = [column.__name__ for column in answer.context["cl"].list_display[1:]].index("asked") + 1
    assert names(signed_in(bob).get(f"{QUEUE}?o=-{asked}"))
    by_age = signed_in(bob).get(f"{QUEUE}?o={asked}").context["cl"].result_list
    assert [row.pk for row in by_age] == [request.pk for request in (old, never, soon, later, grave)]


def test_it_counts_the_approvals_of_the_arguments_as_they_are(alice, bob, person, waiting, signed_in):
    approval = waiting(alice)
    ApprovalRequest.objects.filter(pk=approval.pk).update(quorum=2)
    digest = approval.tool_call.args_digest
    for name, verdict, of in (
        ("eva", "approve", digest),
        ("finn", "approve", "old"),
        ("gus", "reject", digest),
    ):
        voter = person(name)
        approval.votes.create(voter=voter, principal=voter, verdict=verdict, args_digest=of)

    assert "1 of 2 approvals" in signed_in(bob).get(QUEUE).content.decode()
    assert "1 of 2 approvals" in signed_in(bob).get(page_of(approval)).content.decode()


def test_history_says_what_came_of_it(alice, bob, waiting, signed_in):
    client = signed_in(bob)
    approval = waiting(alice)
    post(client, approval, "approve")
    call = ToolCall.objects.get(pk=approval.tool_call_id)
    assert call.advance("running", started_at=Now())
    assert call.advance("failed", finished_at=Now(), error="The bank said \u202e no")

    text = client.get(f"{QUEUE}?status=decided").content.decode()

    assert "by bob" in text
    assert "The bank said" in text
    assert "\u202e" not in text
    assert "tag--failed" in text


def test_it_says_so_when_nothing_waits(bob, signed_in):
    client = signed_in(bob)

    assert "No approvals waiting" in client.get(QUEUE).content.decode()
    assert "No approvals match" in client.get(f"{QUEUE}?status=expired").content.decode()


def queries_of(client, url):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_the_list_costs_the_same_for_fifty_rows_as_for_five(alice, bob, waiting, signed_in):
    client = signed_in(bob)
    for _ in range(5):
        waiting(alice)
    client.get(QUEUE)
    five = queries_of(client, QUEUE)
    for _ in range(45):
        waiting(alice)

    assert queries_of(client, QUEUE) == five
    assert five <= 20


def test_history_costs_the_same_for_thirty_rows_as_for_three(alice, bob, waiting, signed_in):
    client = signed_in(bob)
    url = f"{QUEUE}?status=decided"

    def decide(count):
        for _ in range(count):
            post(client, waiting(alice), "reject", reason="no")

    decide(3)
    client.get(url)
    three = queries_of(client, url)
    decide(27)

    assert queries_of(client, url) == three


def test_the_decision_page_costs_the_same_however_much_is_around_it(alice, bob, waiting, signed_in):
    client = signed_in(bob)
    approval = waiting(alice)
    client.get(page_of(approval))
    first = queries_of(client, page_of(approval))
    for number in range(10):
        waiting(alice)
        approval.comments.create(author=bob, text=str(number))

    assert queries_of(client, page_of(approval)) == first


def test_the_badge_costs_one_query_on_other_pages(alice, bob, waiting, signed_in):
    waiting(alice)
    client = signed_in(bob)

    answer = client.get("/admin/")

    assert "<span data-count>1</span>" in answer.content.decode()


def test_whoever_may_not_look_has_no_badge(person, signed_in):
    answer = signed_in(person("gina", staff=True)).get("/admin/")

    assert "approvals-link" not in answer.content.decode()


def test_what_a_model_wrote_is_inert_and_visible(alice, bob, waiting, say, signed_in):
    approval = waiting(
        alice, args={"order_number": 1, "amount": "1.00", "reason": NASTY, NASTY[:30]: 1}, why=NASTY
    )
    say(approval.tool_call, NASTY, "ai")
    client = signed_in(bob)
    chosen = {"action": "reject_selected", "_selected_action": str(approval.pk)}

    for answer in (client.get(QUEUE), client.get(page_of(approval)), client.post(QUEUE, chosen)):
        assert answer.status_code == 200
        text = answer.content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "7|add:1" in text
        assert 'class="shapeless">\\u202e<' in text
        # In a field the text is kept as it is; there, and only there, it stays unseen.
        outside = "".join(part for part in text.split("<textarea") if "</textarea>" not in part)
        assert "\u202e" not in outside + "".join(
            part.partition("</textarea>")[2] for part in text.split("<textarea")
        )


def test_the_decision_page_shows_a_long_value_whole(alice, bob, waiting, signed_in):
    approval = waiting(alice, "send_email", {"to": "a@b.example", "subject": "s", "body": "x" * 9000 + "END"})

    assert "xEND&quot;" in signed_in(bob).get(page_of(approval)).content.decode()


def test_the_decision_page_shows_what_is_around(alice, bob, waiting, say, signed_in):
    earlier = waiting(alice, args={"order_number": 77, "amount": "1.00", "reason": ""})
    post(signed_in(bob), earlier, "reject", reason="no")
    approval = waiting(alice)
    for number in range(12):
        say(approval.tool_call, f"message {number:02}")

    text = signed_in(bob).get(page_of(approval)).content.decode()

    assert "message 11" in text
    assert "message 02" in text
    assert "message 01" not in text
    assert "order_number 77" in text
    assert "all wait" in text
    assert approval.tool_call.args_digest in text


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"preview": f"It would pay {NASTY}"}, "It would pay"),
        ({"preview_error": f"LookupError: {NASTY}"}, "The tool could not say:"),
    ],
)
def test_the_decision_page_shows_the_tools_own_words(alice, bob, waiting, signed_in, fields, shown):
    approval = waiting(alice, **{name: text.replace("\x07", "") for name, text in fields.items()})

    text = signed_in(bob).get(page_of(approval)).content.decode()

    assert shown in text
    assert "the tool's own words" in text
    assert "<script>alert" not in text
    assert "\u202e" not in text


def test_the_decision_page_shows_how_earlier_calls_ended(alice, carol, bob, waiting, proposed, signed_in):
    for user, error in ((alice, "no such order"), (carol, "the bank is closed")):
        call = proposed(
            user, args={"order_number": 7, "amount": "1.00", "reason": ""}, state="failed", error=error
        )
        assert call.state == "failed"
    proposed(carol, "send_email", state="done", result="Sent to eve")

    text = signed_in(bob).get(page_of(waiting(alice))).content.decode()

    _, of_alice, of_the_tool = text.split('<ul class="plain history">')
    assert "no such order" in of_alice
    assert "the bank is closed" not in of_alice
    assert "no such order" in of_the_tool
    assert "the bank is closed" in of_the_tool
    assert "Sent to eve" not in text


def test_pages_hold_nothing_inline(alice, bob, waiting, signed_in):
    """A strict content security policy refuses inline scripts and styles."""
    import re

    approval = waiting(alice)
    client = signed_in(bob)

    for url in (QUEUE, page_of(approval), "/admin/"):
        answer = client.get(url)
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.content.decode()
        )
        assert "unsafe" not in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    "lookup", ["tool_call__user__password__startswith", "decided_by__password__contains"]
)
def test_hidden_relations_can_not_be_filtered_by(bob, signed_in, lookup):
    assert signed_in(bob).get(f"{QUEUE}?{lookup}=a").status_code == 400
