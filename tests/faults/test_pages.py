"""Open pages, over real sockets, whose connection drops, which read too slowly, or whose worker is killed."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from random import Random

import pytest
from accounts.models import User
from django.conf import settings
from django.test import Client
from runtime.models import Message, Run, Thread
from websockets.asyncio.client import ClientConnection, connect

from tests.faults.lab import Lab
from tests.support.page import Page, fresh
from tests.support.processes import until
from tests.support.product import Web

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

STORY = "Tell me a long story"
DRAFT = re.compile(r"hx-ignore>(.*)</div>", re.DOTALL)


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: object) -> Iterator[Web]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        web = Web()
    web.start()
    yield web
    web.stop()


class OpenPage:
    """alice's page of a thread, as its frames make it, until the turn has ended."""

    def __init__(self, web: Web, session: str, thread: Thread) -> None:
        self.thread = thread
        self.drafts: list[str] = []
        """What could be read of the answer before it was finished, after each frame."""
        self._page = Page()
        self._url = f"{web.url.replace('http', 'ws')}/ws/threads/{thread.pk}/?lang=en&after="
        self._headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}", "Origin": web.url}

    async def stay(self) -> None:
        async with self._socket() as socket:
            await self._read(socket)

    async def drop(self, random: Random) -> None:
        """Is cut off after some frames, is away for a while, and comes back after the last event it has seen."""
        while not self._has_ended:
            async with self._socket() as socket:
                await self._read(socket, random.randint(2, 25))
                socket.transport.abort()
            await asyncio.sleep(random.uniform(0, 0.1))

    async def sleep(self, random: Random) -> None:
        """Does not read for seconds."""
        async with self._socket(max_queue=1) as socket:
            await self._read(socket, random.randint(2, 25))
            await asyncio.sleep(random.uniform(2, 3))
            await self._read(socket)

    def check(self) -> None:
        """It shows what a fresh page shows, and never showed anything but the beginning of the answer."""
        answer = Message.objects.get(thread=self.thread, role="ai").content
        assert self._page.items == fresh(self.thread)
        assert self.drafts
        assert [draft for draft in self.drafts if not answer.startswith(draft)] == []

    @property
    def _has_ended(self) -> bool:
        is_answered = any("message--ai" in item for item in self._page.items.values())
        is_open = any("data-open" in item for item in self._page.items.values())
        return is_answered and not is_open and 'data-status="idle"' in self._page.composer

    def _socket(self, **options: int) -> connect:
        url = self._url + self._page.cursor
        options = {
            "close_timeout": 0,
            **options,
        }  # what is left unread would keep the other's goodbye from it
        return connect(url, additional_headers=self._headers, compression=None, proxy=None, **options)

    async def _read(self, socket: ClientConnection, frames: int = 1_000_000) -> None:
        while frames and not self._has_ended:
            frames -= 1
            self._page.take(json.loads(await socket.recv()))
            self.drafts += [
                html.unescape(draft[1])
                for item in self._page.items.values()
                if "data-open" in item and (draft := DRAFT.search(item))
            ]


@contextmanager
def reading(*work: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Pages read in a loop of their own meanwhile; leaves when each has seen its turn end."""

    async def read() -> None:
        async with asyncio.timeout(40):
            await asyncio.gather(*(each() for each in work))

    with ThreadPoolExecutor(1) as thread:
        done: Future[None] = thread.submit(asyncio.run, read())
        yield
        done.result()


@pytest.fixture
def opened(lab: Lab, web: Web, signed_in: Callable[[User], Client]) -> Callable[[Thread], OpenPage]:
    session = signed_in(lab.alice).cookies[settings.SESSION_COOKIE_NAME].value
    return lambda thread: OpenPage(web, session, thread)


@pytest.mark.fault("C1 C2 pages drop, come back, and fall behind")
def test_pages_that_drop_and_one_that_does_not_read_show_the_answer_once(
    lab: Lab, opened: Callable[[Thread], OpenPage]
) -> None:
    thread = lab.thread()
    stable, slow, *dropping = (opened(thread) for _ in range(10))
    drops = [partial(page.drop, Random(lab.random.random())) for page in dropping]
    with (
        lab.worker(OPENAI_MODEL="demo-model+delay=0.002"),
        reading(stable.stay, partial(slow.sleep, lab.random), *drops),
    ):
        lab.strike()
        lab.say(STORY, thread)
        lab.settle()

    for page in (stable, slow, *dropping):
        page.check()


@pytest.mark.fault("the only worker killed under open pages")
def test_open_pages_whose_worker_is_killed_show_the_whole_answer_once(
    lab: Lab, opened: Callable[[Thread], OpenPage]
) -> None:
    pages = [opened(lab.thread()) for _ in range(5)]
    model = "demo-model+delay=0.01"
    with reading(*(page.stay for page in pages)):
        with lab.worker(OPENAI_MODEL=model, COUNTERSIGN_RUN_LEASE="2") as doomed:
            for page in pages:
                lab.say(STORY, page.thread)
            until(lambda: all(len(page.drafts) > 3 for page in pages), seconds=30)
            lab.strike()
            doomed.kill()
        assert not Run.objects.filter(ended_at__isnull=False).exists()
        with lab.worker(OPENAI_MODEL=model):
            lab.settle()

    for page in pages:
        page.check()
