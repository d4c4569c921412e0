from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from runtime.models import Assistant, Run, Thread, ToolCall

pytestmark = pytest.mark.django_db

AUDITED = ("toolcall", "run", "thread")


@pytest.fixture
def rows(approved_turn: tuple[Run, Run, ToolCall]) -> dict[str, Model]:
    first, _, call = approved_turn
    return {"toolcall": call, "run": first, "thread": first.thread, "assistant": first.assistant}


def page(model: str, name: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:runtime_{model}_{name}", args=args)


@pytest.mark.parametrize("model", AUDITED)
@pytest.mark.parametrize("who", ["dave", "operator", "admin"])
def test_those_who_may_view_see_list_and_page(
    request: pytest.FixtureRequest,
    signed_in: Callable[[User], Client],
    rows: dict[str, Model],
    model: str,
    who: str,
) -> None:
    client = signed_in(request.getfixturevalue(who))
    assert client.get(page(model)).status_code == 200
    assert client.get(page(model, "change", rows[model].pk)).status_code == 200


@pytest.mark.parametrize("model", [*AUDITED, "assistant"])
def test_a_chat_user_sees_nothing(
    signed_in: Callable[[User], Client], carol: User, rows: dict[str, Model], model: str
) -> None:
    for url in (page(model), page(model, "change", rows[model].pk)):
        assert signed_in(carol).get(url)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("model", ["run", "thread", "assistant"])
def test_an_approver_sees_tool_calls_only(
    signed_in: Callable[[User], Client], bob: User, rows: dict[str, Model], model: str
) -> None:
    assert signed_in(bob).get(page(model)).status_code == 403
    assert signed_in(bob).get(page("toolcall")).status_code == 200


@pytest.mark.parametrize("model", AUDITED)
def test_not_even_a_superuser_changes_the_record(
    signed_in: Callable[[User], Client], admin: User, rows: dict[str, Model], model: str
) -> None:
    client, row = signed_in(admin), rows[model]
    before = type(row).objects.filter(pk=row.pk).values().get()  # type: ignore[attr-defined]
    tries = {
        page(model, "add"): {"title": "x"},
        page(model, "change", row.pk): {"title": "x", "state": "rejected", "status": "error"},
        page(model, "delete", row.pk): {"post": "yes"},
    }
    for url, data in tries.items():
        assert client.post(url, data).status_code == 403, url
    client.post(page(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert type(row).objects.filter(pk=row.pk).values().get() == before  # type: ignore[attr-defined]


def test_a_call_is_shown_from_proposal_to_result(
    signed_in: Callable[[User], Client], dave: User, make_call: Callable[..., ToolCall], bob: User
) -> None:
    call = make_call(
        why="They asked <b>nicely</b>",
        proposed_args={"amount": "100.00"},
        args={"amount": "59.90"},
        decision="edit",
        decided_by=bob,
        reason="too much",
        result="paid",
    )
    text = signed_in(dave).get(page("toolcall", "change", call.pk)).content.decode()
    for told in ("100.00", "59.90", "edit", "bob", "too much", "paid", "&lt;b&gt;nicely"):
        assert told in text, told
    assert page("thread", "change", call.thread_id) in text
    assert page("run", "change", call.run_id) in text


@pytest.mark.parametrize("term", ["alice", "refund_order", "1042", "id"])
def test_a_call_is_found(
    signed_in: Callable[[User], Client], dave: User, make_call: Callable[..., ToolCall], term: str
) -> None:
    call = make_call()
    make_call(tool="send_email", args={"to": "x@example.com"}, user=dave)
    found = signed_in(dave).get(page("toolcall"), {"q": str(call.pk) if term == "id" else term})
    assert [row.pk for row in found.context["cl"].result_list] == [call.pk]


def test_a_thread_shows_its_messages(
    signed_in: Callable[[User], Client], dave: User, rows: dict[str, Model]
) -> None:
    assert b"Refund 1042" in signed_in(dave).get(page("thread", "change", rows["thread"].pk)).content


def test_a_run_shows_its_steps(
    signed_in: Callable[[User], Client], dave: User, rows: dict[str, Model]
) -> None:
    text = signed_in(dave).get(page("run", "change", rows["run"].pk)).content.decode()
    assert "approve (bob): goodwill" in text


@pytest.fixture
def presentation() -> dict[str, str]:
    return {"name": "Store", "description": "Sells", "starters": "One?\n\n Two? \n", "is_active": "on"}


def test_an_operator_edits_how_an_assistant_presents_itself(
    signed_in: Callable[[User], Client], operator: User, assistant: Assistant, presentation: dict[str, str]
) -> None:
    url = page("assistant", "change", assistant.pk)
    assert signed_in(operator).post(url, {**presentation, "graph_id": "other"}).status_code == 302
    assistant.refresh_from_db()
    assert (assistant.name, assistant.starters, assistant.graph_id) == ("Store", ["One?", "Two?"], "shop")


@pytest.mark.parametrize("starters", ["1\n2\n3\n4\n5", "x" * 201])
def test_it_refuses_starters_that_do_not_fit(
    signed_in: Callable[[User], Client],
    operator: User,
    assistant: Assistant,
    presentation: dict[str, str],
    starters: str,
) -> None:
    data = presentation | {"starters": starters}
    response = signed_in(operator).post(page("assistant", "change", assistant.pk), data)
    assert "starters" in response.context["adminform"].form.errors


def test_an_auditor_edits_nothing(
    signed_in: Callable[[User], Client], dave: User, assistant: Assistant, presentation: dict[str, str]
) -> None:
    response = signed_in(dave).post(page("assistant", "change", assistant.pk), presentation)
    assert response.status_code == 403


def test_nobody_adds_or_deletes_an_assistant(
    signed_in: Callable[[User], Client], admin: User, assistant: Assistant, thread: Thread
) -> None:
    client = signed_in(admin)
    assert client.post(page("assistant", "add"), {"name": "x"}).status_code == 403
    assert client.post(page("assistant", "delete", assistant.pk), {"post": "yes"}).status_code == 403
