"""What comes and goes over the programs' socket: docs/howto/websocket.md. One JSON object a frame, text only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from accounts.exceptions import Refusal
from django.http import Http404
from django.utils.translation import gettext as _
from pydantic import Field, TypeAdapter, ValidationError
from runtime import strict_json
from runtime.exceptions import RuntimeRefusal
from runtime.schemas import DecisionType

from apps.chat.api.feed import Told
from apps.chat.api.schemas import Body, Judgement, NewMessage

Json = dict[str, Any]


class Sent(Body):
    ref: str | None = Field(None, max_length=64, description="Comes back in whatever answers this frame.")


class Auth(Sent):
    type: Literal["auth"]
    token: str = Field(min_length=1, max_length=4096)


class Send(Sent, NewMessage):
    type: Literal["send"]
    idempotency_key: str | None = None


class Stop(Sent):
    type: Literal["stop"]
    run_id: UUID


class Listen(Sent):
    """After that event; without one the answer begins with how the session stands."""

    type: Literal["resume"]
    session_id: UUID
    after: str = Field("", max_length=60)


class Leave(Sent):
    type: Literal["leave"]
    session_id: UUID


class Said(Judgement):
    type: DecisionType
    digest: str = Field(max_length=64)


class Decide(Sent):
    type: Literal["decide"]
    tool_call_id: UUID
    decision: Said


class Ping(Sent):
    type: Literal["ping"]


Frame = Auth | Send | Stop | Listen | Leave | Decide | Ping
_FRAMES: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])


class Unreadable(RuntimeRefusal):
    """The frame is none of those there are."""

    status = 422

    def __init__(self, message: str, ref: str | None = None) -> None:
        super().__init__(message)
        self.ref = ref


def read(text: str) -> Frame:
    """Raises Unreadable, which never repeats what was sent: it may be a key."""
    try:
        sent = strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_("The frame can't be read: %(why)s") % {"why": error}) from error
    try:
        return _FRAMES.validate_python(sent)
    except ValidationError as error:
        raise Unreadable(
            _faults(error.errors(include_url=False, include_input=False)), _ref_of(sent)
        ) from error


def _faults(errors: Sequence[Any]) -> str:
    """Which field, and what is wrong with it, as the HTTP API says it."""
    return "; ".join(f"{'.'.join(map(str, each['loc'][1:])) or 'frame'}: {each['msg']}" for each in errors)


def _ref_of(sent: object) -> str | None:
    ref = sent.get("ref") if isinstance(sent, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 64 else None


# Told


def event(session_id: UUID, told: Told) -> str:
    """The same as the stream's, and whose session it is of."""
    return _text(
        {
            "type": "event",
            "event": told.event,
            "session_id": str(session_id),
            "id": told.id,
            "data": told.data,
        }
    )


def accepted(frame: Frame, **fields: Any) -> str:
    return _answer("accepted", frame.ref, {"of": frame.type, **fields})


def pong(frame: Ping) -> str:
    return _answer("pong", frame.ref, {})


def refused(code: int, detail: str, ref: str | None = None, **fields: Any) -> str:
    """`code` is the status with which the HTTP API says the same."""
    return _answer("error", ref, {"code": code, "detail": detail, **fields})


def refusal(error: Refusal | RuntimeRefusal | Http404, ref: str | None) -> str:
    if isinstance(error, Http404):
        return refused(404, _("There is no such thing, or it is not yours."), ref)
    after = (
        error.retry_after if isinstance(error, RuntimeRefusal) else int(error.headers.get("Retry-After", 0))
    )
    return refused(error.status, str(error), ref, **({"retry_after": after} if after else {}))


def _answer(type: str, ref: str | None, fields: Json) -> str:
    return _text({"type": type, **({"ref": ref} if ref is not None else {}), **fields})


def _text(frame: Json) -> str:
    return json.dumps(frame, ensure_ascii=False)
