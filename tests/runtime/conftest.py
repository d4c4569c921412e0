from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings
from runtime import llm
from runtime.invariants import violations
from runtime.llm import ChatModel
from runtime.models import Assistant, Thread

from apps.approvals.models import PolicyRule
from tests.support import asking_graph
from tests.support.asking_graph import answers, effects


@pytest.fixture
def on(settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Thread]:
    """A thread of alice's on this graph."""

    def make(graph: Any) -> Thread:
        effects.clear()
        answers.clear()
        monkeypatch.setattr(asking_graph, "graph", graph, raising=False)
        settings.COUNTERSIGN_GRAPHS = {"asking": "tests.support.asking_graph:graph"}
        settings.COUNTERSIGN_ALLOW_UNGATED_TOOLS = True
        assistant = Assistant.objects.create(graph_id="asking", name="Asking")
        return Thread.objects.create(owner=alice, assistant=assistant)

    return make


@pytest.fixture
def rule(bob: User) -> Callable[..., PolicyRule]:
    def make(tool: str, verdict: str = "ask", **fields: Any) -> PolicyRule:
        group = Group.objects.get(name="Approvers")
        return PolicyRule.objects.create(
            name=f"{tool} {verdict}", tool=tool, verdict=verdict, approvers=group, **fields
        )

    return make


@pytest.fixture
def nothing_is_wrong_afterwards(transactional_db: None) -> Iterator[None]:
    yield
    assert violations() == []


@pytest.fixture
async def llm_closed() -> AsyncIterator[None]:
    yield
    await llm.close()


@pytest.fixture
def model_at(settings: Settings) -> Any:
    def make(base_url: str, **limits: float) -> ChatModel:
        for name, seconds in limits.items():
            setattr(settings, name, seconds)
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = base_url, "demo-model"
        return llm.chat_model()

    return make
