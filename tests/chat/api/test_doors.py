"""Who gets in where, what is refused, and that the description says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from accounts.models import User
from accounts.scopes import Scope
from config.api import api
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.models import Run, RunStatus, Thread

from apps.chat import watching
from tests.chat.api.conftest import ROOT, Program
from tests.chat.conftest import Worker

pytestmark = pytest.mark.django_db

Operation = tuple[str, str]

BODIES: dict[str, Any] = {
    "/chat": {"message": "hello", "timeout": 0},
    "/chat/stream": {"message": "hello"},
    "/tasks": {"topic": "Teapots"},
    "/tasks/{task_id}/resume": {"type": "approve"},
    "/reset": {"session_id": str(uuid4())},
    "/analyze": {"text": "A text to analyse.", "timeout": 0},
    "/analyze/batch": {"items": [{"text": "A text to analyse."}]},
}
STARTS = ["/chat", "/chat/stream", "/tasks"]
NAMES_NOTHING = ["/tasks", "/analyze", "/analyze/batch"]


def operations() -> dict[Operation, Any]:
    """Those of the chat's part, as they describe themselves."""
    paths = api.get_openapi_schema()["paths"]
    return {
        (method.upper(), path.removeprefix(ROOT)): described
        for path, methods in paths.items()
        for method, described in methods.items()
        if path.split("/")[3] not in ("auth", "approvals", "audit")
    }


ALL = operations()
OF_SOMEBODY = [operation for operation in ALL if "{" in operation[1]]


def filled(path: str, thread: Thread, run: Run) -> str:
    names = {
        "session_id": thread.pk,
        "task_id": run.pk,
        "analysis_id": run.pk,
        "batch_id": run.batch or run.pk,
    }
    return path.format_map(names)


def test_all_routes_are_looked_at() -> None:
    assert {path for _, path in ALL} == {
        "/chat",
        "/chat/stream",
        "/events/{session_id}",
        "/tasks",
        "/tasks/{task_id}",
        "/tasks/{task_id}/cancel",
        "/tasks/{task_id}/resume",
        "/history/{session_id}",
        "/reset",
        "/analyze",
        "/analyze/{analysis_id}",
        "/analyze/batch",
        "/analyze/batch/{batch_id}",
        "/analyze/batch/{batch_id}/cancel",
    }


@pytest.mark.parametrize(("method", "path"), ALL)
def test_each_says_all_that_it_may_answer(method: str, path: str) -> None:
    codes = {int(code) for code in ALL[method, path]["responses"]}

    expected = {400, 401, 403, 422, 429, 503}
    expected |= {409} if method == "POST" else set()
    expected |= {404} if path not in NAMES_NOTHING else set()
    expected |= {413} if path in BODIES else set()
    assert codes - {200, 202} == expected
    assert codes & {200, 202}


@pytest.mark.parametrize(("method", "path"), ALL)
def test_nobody_gets_in(thread: Thread, worker: Worker, method: str, path: str) -> None:
    run = worker.ask()

    for program in (Program(), Program("cs_000000000000_" + "a" * 40)):
        answer = program.call(method, filled(path, thread, run), BODIES.get(path))
        assert answer.status_code == 401
        assert answer.json()["detail"]
    assert Run.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), ALL)
def test_a_key_for_something_else_does_not_get_in(
    thread: Thread, worker: Worker, program: Callable[..., Program], method: str, path: str
) -> None:
    run = worker.ask()

    answer = program(thread.owner, Scope.AUDIT).call(method, filled(path, thread, run), BODIES.get(path))

    assert answer.status_code == 403
    assert Run.objects.count() == 1


@pytest.mark.parametrize(("method", "path"), OF_SOMEBODY)
def test_another_persons_is_as_absent_as_what_is_not_there(
    thread: Thread, worker: Worker, carol: User, program: Callable[..., Program], method: str, path: str
) -> None:
    run = worker.ask()

    theirs = program(carol).call(method, filled(path, thread, run), BODIES.get(path))
    nobodys = program(carol).call(method, filled(path, Thread(pk=uuid4()), Run(pk=uuid4())), BODIES.get(path))

    assert theirs.status_code == nobodys.status_code == 404, theirs.content
    assert theirs.json() == nobodys.json()
    assert Run.objects.get().status == RunStatus.PENDING


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/reset"])
def test_nor_can_it_be_named_in_a_body(
    thread: Thread, carol: User, program: Callable[..., Program], path: str
) -> None:
    body = {**BODIES[path], "session_id": str(thread.pk)}

    assert program(carol).post(path, body).status_code == 404
    thread.refresh_from_db()
    assert (Run.objects.count(), thread.deleted_at) == (0, None)


def test_a_deleted_session_is_gone_with_its_tasks(alices_program: Program, worker: Worker) -> None:
    run = worker.ask()
    worker.thread.withdraw_from_owner()

    for path in (f"/tasks/{run.pk}", f"/history/{worker.thread.pk}", f"/events/{worker.thread.pk}"):
        assert alices_program.get(path).status_code == 404


UNREADABLE = [
    b"{",
    b'"text"',
    b"\xff",
    b"[" * 5000,
    b'{"message": "a\\u0000"}',
    b'{"message": "\\ud800"}',
    b"{}",
    b"[]",
]


@pytest.mark.parametrize(
    ("path", "body"),
    # Nothing at all asks a task for another try.
    [(path, body) for path in BODIES for body in UNREADABLE if (path[-7:], body) != ("/resume", b"{}")],
)
def test_what_can_t_be_read_is_refused_in_words(
    alices_program: Program, worker: Worker, path: str, body: bytes
) -> None:
    run = worker.begin()
    answer = alices_program.post(filled(path, worker.thread, run), body)

    assert answer.status_code == 422, answer.content
    assert isinstance(answer.json()["detail"], str)
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("path", "wrong", "field"),
    [
        ("/chat", {"message": " \n"}, "message"),
        ("/chat", {"message": "a" * 32_001}, "32000"),
        ("/chat", {"message": "a", "timeout": 301}, "timeout"),
        ("/chat", {"message": "a", "timeout": -1}, "timeout"),
        ("/chat", {"message": "a", "session": "b"}, "session"),
        ("/chat", {"message": "a", "session_id": "b"}, "session_id"),
        ("/chat", {"message": "a", "assistant": "nobody"}, "nobody"),
        ("/tasks", {"topic": ""}, "topic"),
        ("/tasks", {"topic": "a" * 2001}, "topic"),
        ("/tasks", {"topic": "a", "mode": "No Mode"}, "mode"),
        ("/tasks", {"topic": "a", "config": {"target_length": 0}}, "config.target_length"),
        ("/tasks", {"topic": "a", "config": {"length": 1}}, "config.length"),
    ],
)
def test_a_body_that_is_wrong_is_refused_by_the_name_of_the_field(
    alices_program: Program, assistant: object, path: str, wrong: Any, field: str
) -> None:
    answer = alices_program.post(path, wrong)

    assert (answer.status_code, field in answer.json()["detail"]) == (422, True), answer.content
    assert not Thread.objects.exists()


def test_a_body_that_is_too_large_is_refused(alices_program: Program) -> None:
    answer = alices_program.post("/chat", {"message": "a" * 2_000_000})

    assert (answer.status_code, answer.json()) == (413, {"detail": "The body is too large."})


@pytest.mark.parametrize("path", STARTS)
def test_a_full_queue_says_when_to_come_back(
    alices_program: Program, settings: Settings, worker: Worker, path: str
) -> None:
    settings.QUEUE_LIMIT = 1
    worker.ask()

    answer = alices_program.post(path, BODIES[path])

    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert (Run.objects.count(), Thread.objects.count()) == (1, 1)


@pytest.mark.parametrize("path", STARTS)
def test_nobody_has_too_much_under_way(
    alices_program: Program, settings: Settings, worker: Worker, path: str
) -> None:
    settings.USER_RUN_LIMIT = 1
    worker.ask()

    answer = alices_program.post(path, BODIES[path])

    assert (answer.status_code, answer["Retry-After"]) == (429, "5")


def test_the_rate_is_limited(alices_program: Program, settings: Settings, assistant: object) -> None:
    settings.API_USER_RATE = "2 per minute"

    codes = [alices_program.post("/tasks", {"topic": "a"}).status_code for _ in range(3)]

    assert codes == [202, 202, 429]


def test_one_person_has_only_so_many_streams_open(
    alices_program: Program, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_open", {worker.thread.owner_id: watching.STREAMS_EACH})

    for method, path in (
        ("POST", "/chat"),
        ("POST", "/chat/stream"),
        ("GET", f"/events/{worker.thread.pk}"),
    ):
        answer = alices_program.call(method, path, BODIES.get(path))
        assert (answer.status_code, answer["Retry-After"]) == (429, "5")
    assert not Run.objects.exists()


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
def test_a_session_that_waits_takes_no_message(alices_program: Program, worker: Worker, path: str) -> None:
    run = worker.begin()
    worker.call(run)
    run.finish(RunStatus.WAITING)

    answer = alices_program.post(path, {**BODIES[path], "session_id": str(worker.thread.pk)})

    assert answer.status_code == 409
    assert "decision" in answer.json()["detail"]


def test_without_an_assistant_nothing_begins(alices_program: Program) -> None:
    for path in STARTS:
        answer = alices_program.post(path, BODIES[path])
        assert answer.status_code == 409
        assert "administrator" in answer.json()["detail"]
    assert not Thread.objects.exists()


def test_the_ids_are_explained() -> None:
    schemas = api.get_openapi_schema()["components"]["schemas"]

    assert "thread" in schemas["Reply"]["properties"]["session_id"]["description"]
    assert "run" in schemas["Task"]["properties"]["task_id"]["description"]
    stream = ALL["GET", "/events/{session_id}"]["responses"]
    assert "text/event-stream" in (stream.get(200) or stream["200"])["content"]
    assert not [path for _, path in ALL if re.search(r"\{uuid:", path)]


@pytest.mark.django_db(transaction=True)  # the answer is looked for from another thread
def test_an_assistant_is_named_by_its_graph_or_by_a_setting(
    alices_program: Program, settings: Settings, assistant: Any
) -> None:
    other = type(assistant).objects.create(graph_id="other", name="Another")
    settings.TASK_ASSISTANT = "shop"

    first = alices_program.post("/tasks", {"topic": "a"}).json()["task_id"]
    second = alices_program.post("/tasks", {"topic": "a", "assistant": "other"}).json()["task_id"]
    third = alices_program.post("/chat", {"message": "a", "timeout": 0}).json()["run_id"]

    found = [Run.objects.get(pk=each).assistant_id for each in (first, second, third)]
    assert found == [assistant.pk, other.pk, other.pk]


def test_a_run_of_a_deleted_account_is_not_told(alices_program: Program, worker: Worker) -> None:
    run = runs.send_message(worker.thread, worker.thread.owner, "hello")
    User.objects.filter(pk=worker.thread.owner_id).update(is_active=False)

    assert alices_program.get(f"/tasks/{run.pk}").status_code == 401
