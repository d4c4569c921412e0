"""The stream as HTTP has it: its frames, and where a client that comes back goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, cast

import pytest
from runtime import hub
from runtime.models import Thread

from apps.chat.langgraph.protocol.envelopes import CHANNELS
from tests.chat.langgraph.conftest import Program
from tests.chat.langgraph.protocol.conftest import Streaming, ended, heard

pytestmark = pytest.mark.django_db(transaction=True)


def frames(program: Program, thread: Thread, **headers: str) -> list[dict[str, str]]:
    """Those up to the end of the run, each as its fields."""
    body = {"channels": list(CHANNELS)}
    response = program.post(f"/threads/{thread.pk}/stream/events", body, **headers)
    assert response["Content-Type"].startswith("text/event-stream")
    assert (response["Cache-Control"], response["X-Accel-Buffering"]) == ("no-store", "no")

    async def read() -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        try:
            async with aclosing(cast(Any, response.streaming_content)) as pieces:
                async for piece in pieces:
                    if piece.startswith(b":"):
                        continue
                    found.append(dict(line.split(": ", 1) for line in piece.decode().strip().split("\n")))
                    if ended(json.loads(found[-1]["data"])):
                        break
        finally:
            await hub.close()
        return found

    return asyncio.run(asyncio.wait_for(read(), 30))


@pytest.mark.parametrize("by", ["seq", "event_id"])
def test_a_client_that_comes_back_goes_on_after_what_it_heard(
    thread: Thread, streaming: Streaming, alices_program: Program, by: str
) -> None:
    run = streaming.started()
    streaming.chunk(run, content="a\n\nevent: end\ndata: null\n\n\u2028", chunk_position="last")
    streaming.ends(run)

    whole = frames(alices_program, thread)
    events = [json.loads(each["data"]) for each in whole]

    assert [each["event"] for each in whole] == [each["method"] for each in events]
    assert [each["id"] for each in whole] == [str(each["seq"]) for each in events]
    assert [each["event_id"] for each in events] == [each["event_id"] for each in heard(thread)]
    rest = frames(alices_program, thread, **{"Last-Event-ID": str(events[2][by])})
    assert [each["id"] for each in rest] == [each["id"] for each in whole[3:]]
