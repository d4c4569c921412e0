"""Filters and searches that people keep."""

from __future__ import annotations

from django.test import Client

from apps.approvals.models import SavedView
from apps.approvals.queue import VIEWS
from tests.approvals.conftest import QUEUE

SAVE = f"{QUEUE}views/"


def delete_url(view):
    return f"{SAVE}{view.pk}/delete/"


def test_a_view_keeps_filters_and_search_under_a_name(alice, bob, waiting, signed_in):
    waiting(alice, "send_email")
    waiting(alice)
    client = signed_in(bob)

    answer = client.post(SAVE, {"name": "Mail", "query": "tool=send_email&q=ada&p=3&o=1"}, follow=True)

    text = answer.content.decode()
    assert SavedView.objects.get().query == "tool=send_email&q=ada"
    assert 'href="?tool=send_email&amp;q=ada" aria-current="page">Mail</a>' in text
    assert len(answer.context["cl"].result_list) == 1


def test_the_same_name_again_replaces_it(bob, signed_in):
    client = signed_in(bob)
    for query in ("tool=send_email", "tool=refund_order"):
        client.post(SAVE, {"name": "Mine", "query": query})

    assert SavedView.objects.get().query == "tool=refund_order"


def test_nobody_sees_or_deletes_the_view_of_another(bob, dave, admin, signed_in):
    view = SavedView.objects.create(owner=bob, name="Bob's own", query="status=all")

    for other in (dave, admin):
        client = signed_in(other)
        assert "Bob&#x27;s own" not in client.get(QUEUE).content.decode()
        assert client.post(delete_url(view)).status_code == 404
    assert "Bob&#x27;s own" in signed_in(bob).get(QUEUE).content.decode()
    assert SavedView.objects.count() == 1


def test_its_owner_deletes_it(bob, signed_in):
    view = SavedView.objects.create(owner=bob, name="Old", query="status=all")
    client = signed_in(bob)

    assert client.get(delete_url(view)).status_code == 405
    assert client.post(delete_url(view)).status_code == 302
    assert not SavedView.objects.exists()


def test_strangers_keep_none(carol, person, signed_in):
    strangers = [Client(), signed_in(carol), signed_in(person("gina", staff=True))]

    answers = [client.post(SAVE, {"name": "n", "query": "status=all"}).status_code for client in strangers]

    assert answers == [302, 302, 403]
    assert not SavedView.objects.exists()


def test_a_view_needs_the_csrf_token(bob):
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")

    assert client.post(SAVE, {"name": "n", "query": "status=all"}).status_code == 403


def test_a_name_is_needed_and_there_are_only_so_many(bob, signed_in):
    client = signed_in(bob)
    for number in range(VIEWS):
        SavedView.objects.create(owner=bob, name=str(number))

    for name in ("", "x" * 61, "one more"):
        client.post(SAVE, {"name": name, "query": "status=all"})

    assert SavedView.objects.count() == VIEWS


def test_a_saved_query_leads_nowhere_else(bob, signed_in):
    answer = signed_in(bob).post(SAVE, {"name": "n", "query": "//evil.example/?status=all&tool__password=x"})

    assert answer["Location"] == f"{QUEUE}?"
