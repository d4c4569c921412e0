"""The pages and forms, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from runtime.models import Assistant, Message, RunStatus, Thread, ToolState

from apps.approvals.models import PolicyRule
from tests.chat.conftest import Worker

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/threads/x/"}
SignedIn = Callable[[User], Client]


@pytest.fixture
def refunds_wait(bob: User) -> PolicyRule:
    return PolicyRule.objects.create(
        name="Refunds wait", tool="refund_order", verdict="ask", approvers=Group.objects.get(name="Approvers")
    )


def url(name: str, thread: Thread, *more: UUID) -> str:
    return reverse(f"chat-{name}", args=[thread.pk, *more])


# --- who gets in


@pytest.mark.parametrize("name", ["thread", "delete"])
def test_carol_finds_nothing_at_alices_thread(
    name: str, thread: Thread, carol: User, signed_in: SignedIn
) -> None:
    assert signed_in(carol).get(url(name, thread)).status_code == 404


@pytest.mark.parametrize("name", ["send", "stop", "rename", "delete"])
def test_carol_can_do_nothing_to_alices_thread(
    name: str, thread: Thread, carol: User, signed_in: SignedIn
) -> None:
    response = signed_in(carol).post(url(name, thread), {"text": "hi", "title": "mine"})

    assert response.status_code == 404
    assert not Message.objects.exists()


def test_carol_can_t_withdraw_alices_call(
    worker: Worker, carol: User, signed_in: SignedIn, refunds_wait: PolicyRule
) -> None:
    call = worker.call(worker.begin())

    assert signed_in(carol).post(url("withdraw", worker.thread, call.pk)).status_code == 404


def test_nobody_sees_a_page_before_signing_in(client: Client, thread: Thread) -> None:
    response = client.get(url("thread", thread))

    assert response.headers["Location"] == f"/accounts/login/?next={url('thread', thread)}"


def test_a_fragment_asked_for_after_signing_out_leads_to_sign_in(client: Client, thread: Thread) -> None:
    response = client.post(url("send", thread), {"text": "hi"}, headers=HTMX)

    assert response.headers["HX-Redirect"] == "/accounts/login/?next=/threads/x/"


def test_an_account_without_the_role_is_told_so(person: Callable[..., User], signed_in: SignedIn) -> None:
    response = signed_in(person("eve")).get("/")

    assert response.status_code == 403
    assert "Ask an administrator" in response.content.decode()


def test_an_approver_who_opens_the_start_page_gets_the_queue(bob: User, signed_in: SignedIn) -> None:
    assert signed_in(bob).get("/").headers["Location"] == reverse(
        "admin:approvals_approvalrequest_changelist"
    )


# --- the start page


def test_the_start_page_offers_starters(alices: Client, assistant: Assistant) -> None:
    assert "Refund order 1042" in alices.get("/").content.decode()


def test_it_offers_a_choice_when_there_are_two_assistants(alices: Client, assistant: Assistant) -> None:
    Assistant.objects.create(graph_id="other", name="Writer", description="Writes.")

    assert alices.get("/").content.decode().count('type="radio"') == 2


def test_it_lists_threads_newest_first_with_what_they_do(worker: Worker, alices: Client) -> None:
    Thread.objects.create(owner=worker.thread.owner, assistant=worker.thread.assistant, title="Older")
    worker.call(worker.begin("Newer"))

    html = alices.get("/").content.decode()

    assert html.index("Newer") < html.index("Older")
    assert "dot--waiting" in html


def test_it_lists_nobody_elses_threads(carol: User, thread: Thread, signed_in: SignedIn) -> None:
    Thread.objects.filter(pk=thread.pk).update(title="Alice's secret")

    assert "secret" not in signed_in(carol).get("/").content.decode()


def test_the_first_message_begins_a_thread(alices: Client, assistant: Assistant) -> None:
    response = alices.post(reverse("chat-new"), {"text": "Hello\r\nthere", "assistant": assistant.pk})

    begun = Thread.objects.get(title="Hello there")
    assert response.headers["Location"] == url("thread", begun)
    assert begun.messages.get().content == "Hello\nthere"


@pytest.mark.parametrize("text", ["", "   ", "x" * 32_001])
def test_a_bad_first_message_leaves_no_thread(alices: Client, assistant: Assistant, text: str) -> None:
    response = alices.post(reverse("chat-new"), {"text": text, "assistant": assistant.pk})

    assert response.status_code == 422
    assert "composer-error" in response.content.decode()
    assert Thread.objects.count() == 1


def test_an_assistant_no_longer_offered_is_refused(alices: Client, assistant: Assistant) -> None:
    gone = Assistant.objects.create(graph_id="other", name="Writer", is_active=False)

    response = alices.post(reverse("chat-new"), {"text": "my draft", "assistant": gone.pk})

    assert response.status_code == 422
    assert "no longer offered" in response.content.decode()
    assert "my draft" in response.content.decode()


# --- a thread


def test_a_thread_says_where_its_page_goes_on(worker: Worker, alices: Client) -> None:
    worker.stream(worker.begin(), "m", "half")

    html = alices.get(url("thread", worker.thread)).content.decode()

    assert f'hx-ws:connect="/ws/threads/{worker.thread.pk}/?lang=en"' in html
    assert 'data-cursor="0-0"' not in html
    assert "half" in html


def test_without_javascript_a_running_thread_refreshes_itself(worker: Worker, alices: Client) -> None:
    run = worker.begin()
    assert "http-equiv" in alices.get(url("thread", worker.thread)).content.decode()

    run.finish(RunStatus.SUCCESS)
    assert "http-equiv" not in alices.get(url("thread", worker.thread)).content.decode()


def test_a_message_sent_by_a_plain_form_leads_back(alices: Client, thread: Thread) -> None:
    response = alices.post(url("send", thread), {"text": "Hello"})

    assert response.headers["Location"] == url("thread", thread)
    assert thread.messages.get().content == "Hello"


def test_a_message_sent_from_the_page_comes_back_as_an_element(alices: Client, thread: Thread) -> None:
    html = alices.post(url("send", thread), {"text": "Hello"}, headers=HTMX).content.decode()

    assert f'id="message-{thread.messages.get().key}"' in html
    assert 'id="composer"' in html
    assert 'id="stop-form"' in html


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_refused_message_comes_back_with_its_text(
    worker: Worker, alices: Client, headers: dict[str, str]
) -> None:
    worker.call(worker.begin())

    response = alices.post(url("send", worker.thread), {"text": "my draft"}, headers=headers)

    assert response.status_code == 409
    assert "waits for a decision" in response.content.decode()
    assert "my draft" in response.content.decode()


def test_stop_stops_what_is_at_work(worker: Worker, alices: Client) -> None:
    run = worker.begin()

    html = alices.post(url("stop", worker.thread), headers=HTMX).content.decode()

    run.refresh_from_db()
    assert run.cancel_requested_at is not None
    assert 'data-status="stopping"' in html


def test_stop_after_the_end_changes_nothing(alices: Client, thread: Thread) -> None:
    assert alices.post(url("stop", thread)).headers["Location"] == url("thread", thread)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_the_requester_withdraws_a_waiting_call(
    worker: Worker, alices: Client, refunds_wait: PolicyRule, headers: dict[str, str]
) -> None:
    call = worker.call(worker.begin())

    response = alices.post(url("withdraw", worker.thread, call.pk), headers=headers)

    call.refresh_from_db()
    assert response.status_code == (200 if headers else 302)
    assert call.state == ToolState.CANCELLED


def test_withdrawing_twice_says_that_it_was_decided(
    worker: Worker, alices: Client, refunds_wait: PolicyRule
) -> None:
    call = worker.call(worker.begin())
    alices.post(url("withdraw", worker.thread, call.pk))

    response = alices.post(url("withdraw", worker.thread, call.pk), headers=HTMX)

    assert response.status_code == 409
    assert "already decided" in response.content.decode()


def test_withdrawing_a_call_of_another_thread_finds_nothing(alices: Client, thread: Thread) -> None:
    assert alices.post(url("withdraw", thread, uuid4())).status_code == 404


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_thread_can_be_renamed(alices: Client, thread: Thread, headers: dict[str, str]) -> None:
    alices.post(url("rename", thread), {"title": "Order 1042"}, headers=headers)

    thread.refresh_from_db()
    assert thread.title == "Order 1042"


@pytest.mark.parametrize("title", ["", "x" * 201])
def test_a_bad_title_is_refused(alices: Client, thread: Thread, title: str) -> None:
    assert alices.post(url("rename", thread), {"title": title}, headers=HTMX).status_code == 422


def test_deleting_asks_first(alices: Client, thread: Thread) -> None:
    assert "Delete this thread?" in alices.get(url("delete", thread)).content.decode()
    assert alices.post(url("delete", thread)).headers["Location"] == "/"
    assert alices.get(f"/threads/{thread.pk}/").status_code == 404
    assert str(thread.pk) not in alices.get("/threads/list/").content.decode()
    assert Thread.objects.get().deleted_at is not None  # the audit of its tool calls hangs on it


def test_a_thread_at_work_is_not_deleted(worker: Worker, alices: Client) -> None:
    worker.begin()

    assert alices.post(url("delete", worker.thread)).status_code == 409
    assert Thread.objects.exists()


def test_a_thread_with_a_waiting_call_is_not_deleted(worker: Worker, alices: Client) -> None:
    run = worker.begin()
    worker.call(run)
    run.finish(RunStatus.WAITING)

    response = alices.post(url("delete", worker.thread))

    assert response.status_code == 409
    assert "Withdraw it" in response.content.decode()


# --- how it looks


def test_the_theme_is_kept_in_a_cookie(client: Client, db: None) -> None:
    client.post(reverse("set-theme"), {"theme": "dark", "next": "/accounts/login/"})
    assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()

    client.post(reverse("set-theme"), {"theme": "system"})
    assert "data-theme" not in client.get("/accounts/login/").content.decode()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_the_theme_form_leads_nowhere_else(client: Client, elsewhere: str) -> None:
    assert client.post(reverse("set-theme"), {"theme": "dark", "next": elsewhere}).headers["Location"] == "/"


def test_pages_hold_no_inline_script_or_style(worker: Worker, alices: Client) -> None:
    worker.call(worker.begin())
    for address in ("/", url("thread", worker.thread), url("delete", worker.thread), "/accounts/password/"):
        html = alices.get(address).content.decode()
        assert " style=" not in html
        assert "<style" not in html
        assert "<script>" not in html
        assert " onclick" not in html
