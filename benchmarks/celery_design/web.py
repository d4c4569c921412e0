"""The web half: `uvicorn benchmarks.celery_design.web:app`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from redis.asyncio import Redis

from benchmarks.celery_design.log import CONNECTIONS, END, REDIS_URL, log_key
from benchmarks.celery_design.tasks import answer

BLOCK = 15_000  # milliseconds

app = FastAPI()
redis: Redis = Redis.from_url(
    REDIS_URL, max_connections=CONNECTIONS, decode_responses=True, socket_timeout=None
)


class Message(BaseModel):
    text: str


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/threads/{thread_id}/runs")
def begin(thread_id: str, message: Message) -> dict[str, str]:
    run_id = str(uuid4())
    answer.delay(run_id, thread_id, message.text)
    return {"run_id": run_id}


@app.get("/runs/{run_id}/events")
async def events(run_id: str) -> StreamingResponse:
    return StreamingResponse(_lines(run_id), media_type="text/event-stream")


async def _lines(run_id: str) -> AsyncIterator[str]:
    key, last = log_key(run_id), "0"
    while True:
        found: Any = await redis.xread({key: last}, block=BLOCK)
        for _, entries in found or []:
            for last, fields in entries:
                yield f"id: {last}\ndata: {json.dumps(fields)}\n\n"
                if fields["event"] == END:
                    return
