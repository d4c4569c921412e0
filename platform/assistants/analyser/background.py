"""Background on what a text names, from an HTTP service of the operator's.

The address is a setting: nothing of a text becomes part of it, no redirect is followed, and no proxy variable is read.
The service gets `{"entities": ["Ada Lovelace"]}` and answers `{"facts": [{"entity": "…", "text": "…"}]}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import httpcore
from django.conf import settings
from pydantic import ValidationError

from assistants.analyser.shapes import Background, Fact

logger = logging.getLogger(__name__)

TIME_LIMIT = 5.0  # seconds
SIZE_LIMIT = 64 * 1024  # bytes of an answer

NOT_SET, NOTHING_NAMED, AWAY, UNREADABLE = "not_set", "nothing_named", "away", "unreadable"


class _Unreadable(Exception):
    """The service answered something else."""


async def look_up(names: Sequence[str]) -> Background:
    """What the service knows. Without one, and whatever goes wrong with it, a note why there is nothing."""
    if not settings.ANALYSIS_ENRICH_URL:
        return Background(note=NOT_SET)
    if not names:
        return Background(note=NOTHING_NAMED)
    try:
        async with asyncio.timeout(min(TIME_LIMIT, settings.ANALYSIS_STEP_LIMIT / 2)):
            answer = await _asked({"entities": list(names)})
        facts = [Fact.model_validate(each) for each in answer["facts"][:50]]
    except (OSError, TimeoutError, httpcore.NetworkError, httpcore.TimeoutException) as error:
        return _nothing(AWAY, error)
    except (
        _Unreadable,
        httpcore.ProtocolError,
        ValidationError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        return _nothing(UNREADABLE, error)
    known = {name.casefold() for name in names}
    return Background(facts=[fact for fact in facts if fact.entity.casefold() in known])


def _nothing(note: str, error: BaseException) -> Background:
    extra = {"action": "no_background", "why": note, "error": type(error).__name__}
    logger.warning("no background", extra=extra)
    return Background(note=note)


async def _asked(body: dict[str, Any]) -> dict[str, Any]:
    headers: dict[bytes | str, bytes | str] = {
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    if settings.ANALYSIS_ENRICH_TOKEN:
        headers["Authorization"] = f"Bearer {settings.ANALYSIS_ENRICH_TOKEN}"
    content = json.dumps(body, ensure_ascii=False).encode()
    async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
        url = settings.ANALYSIS_ENRICH_URL
        async with pool.stream("POST", url, headers=headers, content=content) as answer:
            if answer.status != 200:
                raise _Unreadable(answer.status)
            return _read(await _bounded(answer))


async def _bounded(answer: httpcore.Response) -> bytes:
    got = b""
    async for piece in answer.aiter_stream():
        got += piece
        if len(got) > SIZE_LIMIT:
            raise _Unreadable("too large")
    return got


def _read(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise _Unreadable("no object")
    return value
