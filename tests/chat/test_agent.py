"""The door from Python, as docs/howto/python.md shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts.models import User
from django.http import Http404
from runtime.exceptions import RuntimeRefusal
from runtime.models import Run, Thread

from apps.chat.agent import Agent
from tests.support.demo import DemoModel
from tests.support.nursery import Process
from tests.support.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

PAGE: Path = ROOT / "docs/howto/python.md"


@pytest.fixture(scope="module")
def shared_worker(django_db_setup: None, django_db_blocker: Any, demo_model: DemoModel) -> Iterator[None]:
    env = {"OPENAI_BASE_URL": demo_model.base_url, "OPENAI_MODEL": "demo-model"}
    with django_db_blocker.unblock(), Process("worker", **env):
        yield


@pytest.fixture
def worker(shared_worker: None, order: object, rules: object, assistant: object) -> None:
    """One that is there, and something to refund."""


def test_the_page_says_what_works(worker: None, alice: User, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]

    exec(code, {})

    printed = capsys.readouterr().out
    first, second = Run.objects.order_by("created_at")
    assert printed.startswith("success ")
    for run in (first, second):
        assert run.messages.filter(role="ai").latest("pk").content in printed
    assert Thread.objects.get(pk=first.thread_id).deleted_at is not None


def test_what_waits_is_said_and_keeps_its_session(worker: None, alice: User) -> None:
    agent = Agent(alice, "shop")
    reply = agent.chat("Refund order 1042")

    assert reply.status == "interrupted"
    assert [each.tool for each in reply.interrupts] == ["refund_order"]
    with pytest.raises(RuntimeRefusal):
        agent.reset_session(reply.session_id)


def test_what_is_streamed_is_what_is_kept(worker: None, alice: User) -> None:
    agent = Agent(alice)
    told = list(agent.stream_chat("Tell me a long story"))

    end = told[-1]
    assert (end.event, end.data["status"]) == ("end", "success")
    assert "".join(each.data["text"] for each in told if each.event == "token") == end.data["answer"]
    ids = [each.id for each in told]
    assert len(ids) == len(set(ids))
    session = Thread.objects.get().pk
    assert [each.role for each in agent.get_history(session).messages] == ["human", "ai"]
    fresh = agent.reset_session(session)
    assert agent.get_history(fresh).messages == []
    with pytest.raises(Http404):
        agent.get_history(session)


def test_who_stops_listening_stops_nothing(worker: None, alice: User) -> None:
    agent = Agent(alice)
    for _told in agent.stream_chat("Tell me a long story"):
        break

    run = Run.objects.get()
    again = agent.chat("Hello", run.thread_id)
    run.refresh_from_db()
    assert (run.status, again.status) == ("success", "success")


def test_past_its_time_the_run_goes_on(alice: User, assistant: object) -> None:
    reply = Agent(alice).chat("Hello", timeout=0)

    assert reply.status in ("pending", "running")
    assert reply.answer is None


def test_a_session_is_its_owner_s(alice: User, carol: User, thread: Thread) -> None:
    stranger = Agent(carol)

    for attempt in (
        lambda: stranger.chat("Hello", thread.pk),
        lambda: stranger.stream_chat("Hello", thread.pk),
        lambda: stranger.get_history(thread.pk),
        lambda: stranger.reset_session(thread.pk),
    ):
        with pytest.raises(Http404):
            attempt()
    assert Run.objects.count() == 0
