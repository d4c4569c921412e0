"""What approvers tell one another about a request."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.approvals.conftest import page_of
from tests.approvals.test_queue import NASTY


def comment_url(request):
    return page_of(request).replace("/change/", "/comment/")


def test_whoever_may_look_may_comment(alice, bob, dave, waiting, signed_in):
    approval = waiting(alice)

    answer = signed_in(dave).post(comment_url(approval), {"text": "Is the order paid?\r\nI think not."})

    assert answer.status_code == 302
    assert approval.comments.get().text == "Is the order paid?\nI think not."
    text = signed_in(bob).get(page_of(approval)).content.decode()
    assert "<strong>dave</strong>" in text
    assert "Is the order paid?\nI think not." in text


def test_the_requester_neither_reads_nor_writes(person, alice, bob, waiting, signed_in):
    """Also where the requester is staff, or a superuser."""
    for requester in (bob, person("root", staff=True, superuser=True)):
        approval = waiting(requester)
        approval.comments.create(author=alice, text="He does this every week.")
        client = signed_in(requester)

        text = client.get(page_of(approval)).content.decode()

        assert "every week" not in text
        assert 'id="comments"' not in text
        assert client.post(comment_url(approval), {"text": "But I may!"}).status_code == 403
        assert approval.comments.count() == 1


def test_strangers_are_not_let_in(alice, carol, person, waiting, signed_in):
    approval = waiting(alice)
    strangers = [Client(), signed_in(carol), signed_in(person("gina", staff=True))]

    answers = [client.post(comment_url(approval), {"text": "hello"}).status_code for client in strangers]

    assert answers == [302, 302, 403]  # to the sign-in page, as for every page of the admin
    assert approval.comments.count() == 0


def test_a_comment_needs_the_csrf_token(alice, bob, waiting):
    approval = waiting(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")

    assert client.post(comment_url(approval), {"text": "hello"}).status_code == 403
    assert client.get(comment_url(approval)).status_code == 405
    assert approval.comments.count() == 0


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 2001])
def test_one_that_says_nothing_or_too_much_is_asked_again(alice, bob, waiting, signed_in, text):
    approval = waiting(alice)

    answer = signed_in(bob).post(comment_url(approval), {"text": text})

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert approval.comments.count() == 0


def test_what_is_written_is_inert_and_visible(alice, bob, waiting, signed_in):
    approval = waiting(alice)
    client = signed_in(bob)
    client.post(comment_url(approval), {"text": NASTY.replace("\x07", "")})

    text = client.get(page_of(approval)).content.decode()

    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert 'class="shapeless">\\u202e<' in text
