"""`/chat` and `/chat/stream`, sent again and left alone."""

from __future__ import annotations

from typing import Any

import pytest
from config.http import Handler
from django.http import JsonResponse
from runtime.models import Run, RunStatus, Thread

from apps.chat.late import LateResponse
from tests.chat.api.conftest import Program, names, streamed
from tests.chat.conftest import Worker
from tests.chat.langgraph.conftest import Program as GraphProgram
from tests.support.programs import key_of

pytestmark = pytest.mark.django_db(transaction=True)

KEY = {"Idempotency-Key": "one"}
HELLO = {"message": "hello", "timeout": 0}


def test_past_its_limit_the_run_goes_on_and_is_found(alices_program: Program, assistant: object) -> None:
    answer = alices_program.post("/chat", HELLO)

    said = answer.json()
    assert (answer.status_code, said["status"], said["answer"]) == (202, "pending", None)
    assert answer["Location"] == f"/api/v1/tasks/{said['run_id']}"
    assert Run.objects.get().status == RunStatus.PENDING
    assert alices_program.get(f"/tasks/{said['run_id']}").json()["session_id"] == said["session_id"]


@pytest.mark.parametrize(("status", "code"), [("success", 200), ("error", 200), ("waiting", 202)])
def test_the_same_request_gets_the_same_run(
    alices_program: Program, assistant: object, status: str, code: int
) -> None:
    first = alices_program.post("/chat", HELLO, **KEY).json()
    run = Run.objects.get()
    worker = Worker(run.thread)
    claimed = worker.start(run)
    worker.say(claimed, "m", "Hi")
    if status == "waiting":
        worker.call(claimed)
    claimed.finish(
        status, **({"error": "It broke.", "error_type": "ValueError"} if status == "error" else {})
    )

    again = alices_program.post("/chat", HELLO, **KEY)

    said: Any = again.json()
    assert (again.status_code, said["run_id"], said["answer"]) == (code, first["run_id"], "Hi")
    assert said["status"] == ("interrupted" if status == "waiting" else status)
    assert len(said["interrupts"]) == (status == "waiting")
    assert said["error"] == ({"type": "ValueError", "message": "It broke."} if status == "error" else None)
    assert (Run.objects.count(), Thread.objects.count()) == (1, 1)


def test_a_stream_that_is_asked_for_again_tells_of_the_same_run(
    alices_program: Program, assistant: object
) -> None:
    alices_program.post("/chat/stream", {"message": "hello"}, **KEY)
    run = Run.objects.get()
    worker = Worker(run.thread)
    claimed = worker.start(run)
    worker.say(claimed, "m", "Hi")
    claimed.finish(RunStatus.SUCCESS)

    told = streamed(alices_program.post("/chat/stream", {"message": "hello"}, **KEY))

    assert names(told) == ["session", "end"]
    assert (told[1][1]["run_id"], told[1][1]["answer"]) == (str(run.pk), "Hi")
    assert Run.objects.count() == 1


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/tasks"])
def test_a_key_belongs_to_one_request(alices_program: Program, assistant: object, path: str) -> None:
    bodies = [{"topic": text} if path == "/tasks" else {"message": text} for text in "ab"]
    alices_program.post("/tasks" if path == "/tasks" else "/chat/stream", bodies[0], **KEY)

    answer = alices_program.post(path, bodies[1], **KEY)

    assert answer.status_code == 422
    assert "another request" in answer.json()["detail"]
    assert alices_program.post(path, bodies[1], **{"Idempotency-Key": "a" * 256}).status_code == 422
    assert Run.objects.count() == 1


def test_langgraphs_clients_may_name_their_requests_too(thread: Thread) -> None:
    program = GraphProgram(key_of(thread.owner))
    body = {"assistant_id": "shop", "input": {"messages": "hello"}}

    found = [program.post(f"/threads/{thread.pk}/runs", body, **KEY).json() for _ in range(2)]

    assert found[0]["run_id"] == found[1]["run_id"]
    assert Run.objects.count() == 1


async def test_a_late_answer_is_sent_with_its_own_status() -> None:
    async def work() -> JsonResponse:
        return JsonResponse({"late": True}, status=202, headers={"Location": "/there"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Handler().send_response(LateResponse(work), send)

    assert sent[0]["status"] == 202
    assert (b"Location", b"/there") in sent[0]["headers"]
    assert b"".join(message.get("body", b"") for message in sent) == b'{"late": true}'


async def test_a_late_answer_that_fails_says_so() -> None:
    async def work() -> JsonResponse:
        raise RuntimeError

    late = LateResponse(work)
    await late.settle()

    assert late.status_code == 500
