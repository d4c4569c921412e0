"""Threads with a past, for a benchmark: `python -m benchmarks.history USERNAME GRAPH LENGTH`, printed as JSON.

A thread of LENGTH messages has them in its rows and in its checkpoints, as if it had been used that long.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

if TYPE_CHECKING:
    from runtime.models import Thread

ROOT = Path(__file__).resolve().parents[1]
DELTAS = 50
WORDS = "What was said here is about as long as what people and assistants say to each other in a shop. " * 4


class History(TypedDict):
    thread: str
    """Id of the thread."""
    key: str
    """Of its owner for the API, scope chat."""


def make(username: str, graph_id: str, length: int) -> History:
    """A new thread of `username` with `length` messages, half of them theirs."""
    from accounts import keys
    from accounts.models import User
    from accounts.scopes import Scope
    from django.core.management import call_command
    from runtime.models import Assistant, Thread

    call_command("add_assistant", graph_id, stdout=StringIO())
    assistant = Assistant.objects.get(graph_id=graph_id)
    owner = User.objects.get(username=username)
    thread = Thread.objects.create(owner=owner, assistant=assistant, title=f"{length} messages")
    _write_rows(thread, length // 2)
    asyncio.run(_write_checkpoints(thread, length // 2))
    key = keys.create_key(owner, "bench", (Scope.CHAT,), timedelta(days=1))[1]
    return {"thread": str(thread.pk), "key": key}


def _write_rows(thread: Thread, turns: int) -> None:
    from django.utils import timezone
    from runtime.models import Message, Role, Run, RunStatus

    begins = [timezone.now() - timedelta(minutes=turns - number) for number in range(turns)]
    runs = [
        Run(
            thread=thread,
            assistant_id=thread.assistant_id,
            user_id=thread.owner_id,
            status=RunStatus.SUCCESS,
            attempt=1,
            input={"messages": [{"role": "user", "content": WORDS, "id": str(uuid4())}]},
            **dict.fromkeys(("created_at", "started_at"), at),
            ended_at=at + timedelta(seconds=2),
        )
        for at in begins
    ]
    Run.objects.bulk_create(runs)
    Message.objects.bulk_create(
        [
            Message(
                thread=thread,
                run=run,
                message_id=str(uuid4()),
                role=role,
                content=WORDS,
                created_at=_moment(run.created_at, role),
            )
            for run in runs
            for role in (Role.HUMAN, Role.AI)
        ]
    )


def _moment(began: datetime, role: str) -> datetime:
    return began + timedelta(seconds=1 if role == "ai" else 0)


async def _write_checkpoints(thread: Thread, turns: int) -> None:
    from langchain_core.runnables import RunnableConfig
    from runtime.checkpoints import open_checkpointer
    from runtime.graphs import Graphs

    config: RunnableConfig = {"configurable": {"thread_id": str(thread.pk)}}
    async with open_checkpointer() as checkpointer:
        graph = Graphs(checkpointer).get(thread.assistant.graph_id)
        for messages in _steps(turns, is_delta="Delta" in type(graph.channels["messages"]).__name__):
            await graph.aupdate_state(config, {"messages": messages}, as_node="model")


def _steps(turns: int, *, is_delta: bool) -> Iterator[list[Any]]:
    """What each checkpoint adds. How many there are matters only where reading means going back over them:

    a DeltaChannel goes back to its newest snapshot, of which there is one each hundred writes; so fifty, on average.
    """
    from langchain_core.messages import AIMessage, HumanMessage

    said = [[HumanMessage(WORDS, id=str(uuid4())), AIMessage(WORDS, id=str(uuid4()))] for _ in range(turns)]
    messages = [message for turn in said for message in turn]
    single = min(DELTAS, len(messages)) if is_delta else 0
    if single < len(messages):
        yield messages[: len(messages) - single]
    yield from ([message] for message in messages[len(messages) - single :])


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    username, graph_id, length = sys.argv[1:]
    print(json.dumps(make(username, graph_id, int(length))))


if __name__ == "__main__":
    main()
