"""The engine inside the test's process, on real servers, with a model endpoint over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest
from assistants.shop.models import Order
from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.engine import Engine
from runtime.models import Run, Thread

from apps.approvals.models import PolicyRule
from tests.support.demo import DemoModel

EngineOn = Callable[..., AbstractContextManager[Engine]]


@pytest.fixture(scope="session")
def demo_model() -> Iterator[DemoModel]:
    with DemoModel(delay=1) as model:
        yield model


@pytest.fixture
def engine_on(transactional_db: None, demo_model: DemoModel, settings: Settings) -> EngineOn:
    """`with engine_on("demo-model+cut") as engine:` an engine that talks to that model."""

    @contextmanager
    def start(model: str = "demo-model", base_url: str = demo_model.base_url) -> Iterator[Engine]:
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = base_url, model
        with Engine("test") as engine:
            yield engine

    return start


@pytest.fixture
def engine(engine_on: EngineOn) -> Iterator[Engine]:
    with engine_on() as engine:
        yield engine


@pytest.fixture
def order(transactional_db: None) -> Order:
    return Order.objects.create(number=1042, customer="Ada", email="ada@example.com", total="59.90")


@pytest.fixture
def rules(transactional_db: None, bob: object) -> None:
    group = Group.objects.get(name="Approvers")
    for tool in ("refund_order", "send_email"):
        PolicyRule.objects.create(name=f"{tool} waits", tool=tool, verdict="ask", approvers=group)


def take_turn(engine: Engine, thread: Thread, text: str) -> Run:
    """Sends a message as the thread's owner and performs the run."""
    run = runs.send_message(thread, thread.owner, text)
    engine.perform(str(run.pk))
    run.refresh_from_db()
    return run


@pytest.fixture
def turn(engine: Engine) -> Callable[[Thread, str], Run]:
    return partial(take_turn, engine)
