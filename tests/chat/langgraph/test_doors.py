"""Every route: who gets in, and what is told to those whose request can't be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from accounts.models import User
from accounts.scopes import Scope
from django.test import Client
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.models import Assistant, Run, RunStatus, Thread

from apps.chat.langgraph.urls import urlpatterns
from tests.chat.conftest import Worker
from tests.chat.langgraph.conftest import ROOT, Program

pytestmark = pytest.mark.django_db

HELLO = {"assistant_id": "shop", "input": {"messages": [{"role": "user", "content": "hello"}]}}


def addresses() -> list[tuple[str, str]]:
    """(method, path) of every route, with names in place of what is looked up; read off the URLs themselves."""
    found = []
    for pattern in urlpatterns:
        path = str(pattern.pattern)
        views = _views(pattern.callback)
        found += [(method, path) for method in views]
    return found


def _views(callback: Any) -> list[str]:
    """The methods of a route, out of the closure that `route` makes."""
    cells = [cell.cell_contents for cell in callback.__closure__ or ()]
    wrapped = getattr(callback, "__wrapped__", None)
    return next((list(cell) for cell in cells if isinstance(cell, dict)), []) or (
        _views(wrapped) if wrapped else []
    )


def filled(path: str, thread: Thread, run: Run) -> str:
    names = {"thread_id": thread.pk, "run_id": run.pk, "assistant_id": "shop", "checkpoint_id": uuid4()}
    for name, value in names.items():
        path = path.replace(f"<str:{name}>", str(value))
    return "/" + path.replace("<path:rest>", "nowhere")


ALL = addresses()
OF_THREADS = [(method, path) for method, path in ALL if "thread_id" in path]


def test_all_routes_are_looked_at() -> None:
    assert len(ALL) >= 30
    assert len(OF_THREADS) >= 15


@pytest.mark.parametrize(("method", "path"), ALL)
def test_nobody_gets_in(thread: Thread, worker: Worker, method: str, path: str) -> None:
    run = worker.ask()

    for program in (Program(), Program("cs_000000000000_" + "a" * 40)):
        answer = program.call(method, filled(path, thread, run), HELLO)
        assert answer.status_code == 401
        assert answer.json()["detail"]
    assert Run.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), ALL)
def test_a_key_for_something_else_does_not_get_in(
    thread: Thread, worker: Worker, program: Callable[..., Program], method: str, path: str
) -> None:
    run = worker.ask()

    answer = program(thread.owner, Scope.AUDIT).call(method, filled(path, thread, run), HELLO)

    assert answer.status_code == 403
    assert Run.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), OF_THREADS)
def test_another_persons_thread_is_not_there(
    thread: Thread, worker: Worker, carol: User, program: Callable[..., Program], method: str, path: str
) -> None:
    run = worker.ask()
    body: Any = {**HELLO, "metadata": {"mine": 1}, "if_not_exists": "create"}

    theirs = program(carol).call(method, filled(path, thread, run), body)
    absent = Thread(pk=uuid4())
    nobodys = program(carol).call(
        method, filled(path, absent, Run(pk=uuid4())), {**body, "if_not_exists": "reject"}
    )

    assert theirs.status_code == nobodys.status_code == 404, theirs.content
    assert theirs.json() == nobodys.json()
    thread.refresh_from_db()
    assert thread.metadata == {}
    assert (Run.objects.get().status, thread.deleted_at) == (RunStatus.PENDING, None)


@pytest.mark.parametrize(("method", "path"), OF_THREADS)
def test_an_id_that_is_none_is_said_to_be_none(alices_program: Program, method: str, path: str) -> None:
    broken = "/" + path.replace("<str:thread_id>", "42").replace("<str:run_id>", "43").replace(
        "<str:checkpoint_id>", "44"
    )

    answer = alices_program.call(method, broken, HELLO)

    assert answer.status_code == 422
    assert "42" in answer.json()["detail"]


def test_another_persons_run_on_ones_own_thread_is_not_there(
    thread: Thread, carol: User, assistant: Assistant, alices_program: Program
) -> None:
    theirs = runs.send_message(Thread.objects.create(owner=carol, assistant=assistant), carol, "hello")

    assert alices_program.get(f"/threads/{thread.pk}/runs/{theirs.pk}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"assistant_id": "shop", "input": {"a": NaN}}',
        b'{"assistant_id": "shop", "input": {"a": 1e400}}',
        b'{"assistant_id": "shop", "input": {"a": "\\u0000"}}',
        b'{"assistant_id": "shop", "input": {"a": "\\ud800"}}',
        b'{"assistant_id": "shop", "input": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
        b"[" * 100_000,
        {},
        {"assistant_id": 5},
        {"assistant_id": "nobody", "input": {}},
        {"assistant_id": "shop"},
        {"assistant_id": "shop", "input": []},
        {"assistant_id": "shop", "input": {"messages": []}},
        {
            "assistant_id": "shop",
            "input": {"messages": [{"role": "tool", "content": "ok", "tool_call_id": "1"}]},
        },
        {"assistant_id": "shop", "input": {"messages": [{"type": "remove", "id": "1", "content": ""}]}},
        {"assistant_id": "shop", "input": {"messages": [{"role": "user", "content": 5}]}},
        {"assistant_id": "shop", "input": {"messages": [{"role": "user", "content": "x" * 40_000}]}},
        {
            "assistant_id": "shop",
            "input": {"messages": [{"role": "ai", "content": "", "tool_calls": [{"name": "refund_order"}]}]},
        },
        {**HELLO, "stream_mode": "everything"},
        {**HELLO, "stream_mode": []},
        {**HELLO, "interrupt_before": "*"},
        {**HELLO, "after_seconds": 5},
        {**HELLO, "webhook": "http://localhost/"},
        {**HELLO, "multitask_strategy": "push"},
        {**HELLO, "config": {"recursion_limit": 0}},
    ],
)
def test_what_cant_be_done_is_told_and_nothing_begins(
    thread: Thread, alices_program: Program, body: Any
) -> None:
    for path in ("runs", "runs/stream", "runs/wait"):
        answer = alices_program.post(f"/threads/{thread.pk}/{path}", body)
        assert answer.status_code == 422, answer.content
        assert isinstance(answer.json()["detail"], str)
    assert not Run.objects.exists()


def test_context_and_configurable_are_one_too_many(thread: Thread, alices_program: Program) -> None:
    body = {**HELLO, "context": {"a": 1}, "config": {"configurable": {"a": 1}}}

    assert alices_program.post(f"/threads/{thread.pk}/runs", body).status_code == 400


def test_a_command_is_for_a_thread(alices_program: Program, assistant: Assistant) -> None:
    answer = alices_program.post("/runs", {"assistant_id": "shop", "command": {"resume": "yes"}})

    assert answer.status_code == 400


@pytest.mark.parametrize("command", [{"resume": "yes"}, {"resume": {"0" * 32: "yes"}}, {"goto": "__end__"}])
def test_an_answer_to_nothing_is_refused(thread: Thread, alices_program: Program, command: Any) -> None:
    answer = alices_program.post(f"/threads/{thread.pk}/runs", {"assistant_id": "shop", "command": command})

    assert answer.status_code == 409
    assert not Run.objects.exists()


def test_a_body_that_is_too_large_is_refused(thread: Thread, alices_program: Program) -> None:
    answer = alices_program.post(f"/threads/{thread.pk}/runs", b" " * 1_100_000)

    assert answer.status_code == 413


def test_a_method_that_a_path_does_not_have_is_said(alices_program: Program) -> None:
    assert alices_program.call("PUT", "/threads").status_code == 405


def test_a_page_of_the_same_origin_needs_its_csrf_token(alice: User, assistant: Assistant) -> None:
    page = Client(enforce_csrf_checks=True)
    page.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")

    assert page.get(f"{ROOT}/info").status_code == 200
    assert page.post(f"{ROOT}/threads", "{}", content_type="application/json").status_code == 403


def test_an_account_without_the_role_does_not_get_in(bob: User, program: Callable[..., Program]) -> None:
    assert program(bob).get("/info").status_code == 403


def test_nobody_takes_another_persons_thread_by_its_id(
    thread: Thread, carol: User, program: Callable[..., Program]
) -> None:
    stranger = program(carol)

    for if_exists in ("raise", "do_nothing"):
        body = {"thread_id": str(thread.pk), "if_exists": if_exists}
        assert stranger.post("/threads", body).status_code == 409
    assert stranger.post("/threads/search", {"ids": [str(thread.pk)]}).json() == []
    assert stranger.post("/threads/count", {}).json() == 0
    thread.refresh_from_db()
    assert thread.owner != carol


def test_threads_are_found_by_their_metadata_and_status(
    alice: User, assistant: Assistant, alices_program: Program
) -> None:
    made = [alices_program.post("/threads", {"metadata": {"n": n, "kind": "test"}}).json() for n in range(3)]
    busy = Thread.objects.get(pk=made[0]["thread_id"])
    runs.send_message(busy, alice, "hello")

    def ids(**search: Any) -> list[str]:
        answer = alices_program.post("/threads/search", search)
        assert answer.status_code == 200, answer.content
        return [row["thread_id"] for row in answer.json()]

    assert ids(metadata={"kind": "test"}, sort_by="created_at", sort_order="asc") == [
        each["thread_id"] for each in made
    ]
    assert ids(metadata={"n": 1}) == [made[1]["thread_id"]]
    assert ids(status="busy") == [made[0]["thread_id"]]
    assert set(ids(status="idle")) == {each["thread_id"] for each in made[1:]}
    first = alices_program.post("/threads/search", {"limit": 2, "select": ["thread_id", "status"]})
    assert (first["X-Pagination-Total"], first["X-Pagination-Next"]) == ("3", "2")
    assert first.json()[0].keys() == {"thread_id", "status"}
    assert "X-Pagination-Next" not in alices_program.post("/threads/search", {"limit": 2, "offset": 2})
    for wrong in ({"sort_by": "owner__password"}, {"select": ["owner"]}, {"limit": 0}, {"status": "lost"}):
        assert alices_program.post("/threads/search", wrong).status_code == 422


def test_a_thread_is_changed_and_deleted(thread: Thread, worker: Worker, alices_program: Program) -> None:
    path = f"/threads/{thread.pk}"
    alices_program.call("PATCH", path, {"metadata": {"a": 1}})
    changed = alices_program.call("PATCH", path, {"metadata": {"b": 2}})
    assert changed.json()["metadata"] == {"a": 1, "b": 2}
    quiet = alices_program.call("PATCH", path, {"metadata": {"b": 3}}, Prefer="return=minimal")
    assert (quiet.status_code, quiet.content) == (204, b"")
    run = worker.ask()

    assert alices_program.call("DELETE", path).status_code == 409
    runs.cancel_run(run)
    assert alices_program.call("DELETE", path).status_code == 204
    assert alices_program.get(path).status_code == 404
    assert Thread.objects.get(pk=thread.pk).deleted_at is not None


def test_a_run_is_kept_as_it_was_asked_for(thread: Thread, alices_program: Program) -> None:
    asked = {
        **HELLO,
        "metadata": {"from": "test"},
        "stream_mode": ["values", "messages-tuple"],
        "config": {"recursion_limit": 9, "configurable": {"tone": "dry", "thread_id": "x", "__pregel_x": 1}},
        "user_id": 1,
        "status": "success",
        "is_approved": True,
    }
    answer = alices_program.post(f"/threads/{thread.pk}/runs", asked)

    assert answer.status_code == 200, answer.content
    shown = answer.json()
    assert answer["Content-Location"] == f"/threads/{thread.pk}/runs/{shown['run_id']}"
    assert (shown["status"], shown["metadata"], shown["multitask_strategy"]) == (
        "pending",
        {"from": "test"},
        "enqueue",
    )
    run = Run.objects.get()
    assert (run.user, run.config) == (thread.owner, {"recursion_limit": 9, "configurable": {"tone": "dry"}})
    thread.refresh_from_db()
    assert thread.metadata == {"graph_id": "shop", "assistant_id": str(thread.assistant_id)}
    assert thread.messages.get().content == "hello"
    assert alices_program.get(f"/threads/{thread.pk}").json()["status"] == "busy"


def test_a_run_ends_before_it_is_deleted(thread: Thread, alices_program: Program) -> None:
    path = f"/threads/{thread.pk}/runs"
    made = alices_program.post(path, HELLO).json()
    run = f"{path}/{made['run_id']}"

    assert alices_program.call("DELETE", run).status_code == 409
    assert alices_program.post(f"{run}/cancel?action=undo").status_code == 422
    assert alices_program.post(f"{run}/cancel").status_code == 202
    assert alices_program.get(run).json()["status"] == "interrupted"
    assert alices_program.post(f"{run}/cancel").status_code == 409
    assert alices_program.call("DELETE", run).status_code == 204
    assert alices_program.get(path).json() == []


def test_without_a_worker_only_what_is_in_rows_is_told(
    thread: Thread, worker: Worker, alices_program: Program, assistant: Assistant
) -> None:
    assert alices_program.post(f"/threads/{thread.pk}/history", {}).json() == []
    assert alices_program.get(f"/threads/{thread.pk}/state").json()["checkpoint"] is None
    assert alices_program.get("/assistants/shop/schemas").status_code == 503
    run = worker.begin()
    run.finish(RunStatus.SUCCESS)

    answer = alices_program.get(f"/threads/{thread.pk}/state")

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    Assistant.objects.filter(pk=assistant.pk).update(
        description_of_graph={"schemas": {"input_schema": {}}, "graph": {"nodes": [], "edges": []}}
    )
    assert alices_program.get("/assistants/shop/graph?xray=1").json() == {"nodes": [], "edges": []}


def test_assistants_that_are_not_offered_are_not_there(alices_program: Program, assistant: Assistant) -> None:
    assert alices_program.get("/assistants/shop").json()["assistant_id"] == str(assistant.pk)
    Assistant.objects.update(is_active=False)

    assert alices_program.get(f"/assistants/{assistant.pk}").status_code == 404
    assert alices_program.post("/assistants/search", {}).json() == []
    assert alices_program.post("/runs", HELLO).status_code == 422


def test_one_person_has_only_so_many_runs(
    thread: Thread, alices_program: Program, settings: Settings
) -> None:
    settings.USER_RUN_LIMIT = 1
    assert alices_program.post(f"/threads/{thread.pk}/runs", HELLO).status_code == 200

    answer = alices_program.post(f"/threads/{thread.pk}/runs", HELLO)

    assert answer.status_code == 429
    assert answer["Retry-After"]
