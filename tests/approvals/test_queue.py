"""The list: what it shows, finds, and costs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

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
    assert five <= 16


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
