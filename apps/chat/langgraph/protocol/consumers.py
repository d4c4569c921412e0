"""The protocol over a socket: commands come in, their answers and a thread's events go out."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from contextlib import ExitStack, aclosing, suppress
from typing import Any
from uuid import UUID, uuid4

from accounts.callers import Caller, caller_of
from accounts.exceptions import Refusal
from accounts.models import User
from accounts.scopes import Scope
from accounts.sessions import user_of
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, QueryDict
from django.utils.translation import gettext as _
from pydantic import ValidationError
from runtime import events, strict_json
from runtime.database import in_database
from runtime.endings import end
from runtime.exceptions import RuntimeRefusal
from runtime.idempotency import Started
from runtime.models import Thread

from apps.chat import watching
from apps.chat.langgraph.http import problems_of
from apps.chat.langgraph.protocol import commands, envelopes, feed
from apps.chat.langgraph.protocol.envelopes import Command, Json, Subscription
from apps.chat.watching import TooManyStreams, Watch

logger = logging.getLogger(__name__)

SUBSCRIPTIONS_EACH = 20  # of one socket
COMMANDS_EACH, WINDOW = 100, 10.0  # commands that a socket may send in so many seconds
FAILED, RESTART = 1011, 1012  # close codes after which a client comes back
REFUSED = 4000  # and, plus the HTTP status, those after which it does not


class ProtocolConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """One client's socket on one thread. A thread that is not there yet is made by its first run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open = ExitStack()
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._came: deque[float] = deque(maxlen=COMMANDS_EACH)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:  # the server stops
            with suppress(Exception):
                await self.close(RESTART)
            raise
        finally:
            self._open.close()
            await end(*self._subscriptions.values())

    async def connect(self) -> None:
        """Accepts first: a browser can't read why a handshake was refused."""
        await self.accept()
        self._thread_id: UUID = self.scope["url_route"]["kwargs"]["thread_id"]
        person, refusal = await in_database(self._admission)
        if person is None:
            await self.close(REFUSED + refusal)
            return
        try:
            watching.refuse_one_more(person)
        except TooManyStreams:
            await self.close(REFUSED + TooManyStreams.status)
            return
        self._open.enter_context(watching.counted(person))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """One command after the other."""
        said = await self._answer_to(text_data if text_data is not None else (bytes_data or b""))
        if said is not None:
            await self._send(said)

    async def _answer_to(self, frame: str | bytes) -> Json | None:
        size = len(frame) if isinstance(frame, bytes) else len(frame.encode("utf-8", "surrogatepass"))
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return envelopes.error(None, "invalid_argument", _("The body is too large."))
        try:
            sent = strict_json.loads(frame)
            command = commands.read(sent)
        except ValidationError as error:
            return envelopes.error(_id_of(sent), "invalid_argument", problems_of(error))
        except (ValueError, RecursionError) as error:
            why = _("The body can't be read: %(why)s") % {"why": error}
            return envelopes.error(None, "invalid_argument", why)
        if self._is_too_fast():
            return envelopes.error(
                command.id, "unknown_error", _("These are too many commands. Send the next a little later.")
            )
        return await self._perform(command)

    def _is_too_fast(self) -> bool:
        now = time.monotonic()
        if len(self._came) == COMMANDS_EACH and now - self._came[0] < WINDOW:
            return True
        self._came.append(now)
        return False

    async def _perform(self, command: Command) -> Json | None:
        try:
            match command.method:
                case "subscription.subscribe":
                    return await self._subscribe(command)
                case "subscription.unsubscribe":
                    return await self._unsubscribe(command)
            return await in_database(self._performed, command)
        except ValidationError as error:
            return envelopes.error(command.id, "invalid_argument", problems_of(error))
        except Refusal as refusal:
            return envelopes.error(command.id, "permission_denied", str(refusal))
        except Http404:
            text = _("There is no such thing, or it is not yours.")
            return envelopes.error(command.id, "invalid_argument", text)
        except RuntimeRefusal as refusal:
            return envelopes.error(command.id, "unknown_error", str(refusal))
        except Exception:
            self._log_failure()
            text = _("Something went wrong here. The log says what.")
            return envelopes.error(command.id, "unknown_error", text)

    async def _subscribe(self, command: Command) -> Json | None:
        wanted = Subscription.model_validate(command.params)
        watch = await in_database(self._watch)
        try:
            if len(self._subscriptions) >= SUBSCRIPTIONS_EACH:
                raise TooManyStreams
            watching.refuse_one_more(watch.caller.user)
        except TooManyStreams as refusal:
            return envelopes.error(command.id, "unknown_error", str(refusal))
        id = str(uuid4())
        with ExitStack() as counted:
            counted.enter_context(watching.counted(watch.caller.user))
            # Said before the first event: a client routes events by what it is told here.
            await self._send(envelopes.success(command.id, {"subscription_id": id}))
            self._subscriptions[id] = task = asyncio.create_task(self._follow(watch, wanted))
            until_its_end = counted.pop_all()
        task.add_done_callback(lambda _: until_its_end.close())
        return None

    async def _unsubscribe(self, command: Command) -> Json:
        id = envelopes.Unsubscribe.model_validate(command.params).subscription_id
        task = self._subscriptions.pop(id, None)
        if task is None:
            text = _("There is no such subscription on this socket.")
            return envelopes.error(command.id, "no_such_subscription", text)
        await end(task)
        return envelopes.success(command.id, {})

    async def _follow(self, watch: Watch, wanted: Subscription) -> None:
        """Pushes what is subscribed to. Closes the socket at its end: who listens may not any more, or it failed."""
        try:
            async with aclosing(feed.follow(watch, wanted)) as batches:
                async for batch in batches:
                    for each in batch or ():
                        await self._send(each)
            code = REFUSED + (await in_database(self._admission))[1]
        except Exception:
            self._log_failure()
            code = FAILED
        with suppress(Exception):  # the client may have gone
            await self.close(code)

    async def _send(self, said: Json) -> None:
        await self.send(json.dumps(said, ensure_ascii=False))

    def _log_failure(self) -> None:
        logger.exception(
            "socket failed", extra={"action": "socket_failed", "thread_id": str(self._thread_id)}
        )

    # What follows reads the database. Who it is, and what they may, is asked anew for each command.

    def _caller(self) -> Caller:
        return caller_of(request_of(self.scope), Scope.CHAT)

    def _admission(self) -> tuple[User | None, int]:
        """Who may, or None and the HTTP status that says why not. A thread that is not there may be made."""
        try:
            caller = self._caller()
        except Refusal as refusal:
            return None, refusal.status
        found = Thread.objects.filter(pk=self._thread_id).first()
        is_theirs = found is None or (found.owner_id == caller.user.pk and found.deleted_at is None)
        return (caller.user if is_theirs else None), 404

    def _watch(self) -> Watch:
        request = request_of(self.scope)
        commands.check_thread(caller_of(request, Scope.CHAT), self._thread_id, None)
        return watching.watch_thread(request, self._thread_id, events.START)

    def _performed(self, command: Command) -> Json:
        caller = self._caller()
        commands.check_thread(caller, self._thread_id, command.model_dump())
        door = commands.Door(caller, self._thread_id, lambda work: Started(work(), False))
        return commands.perform(door, command)


def request_of(scope: Any) -> HttpRequest:
    """What the door of the API reads of a request: who is behind it now.

    A GET, which needs no token of a page: sockets of pages are let in by their origin.
    """
    request = HttpRequest()
    request.method, request.path = "GET", scope["path"]
    request.META = {
        "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
        for name, value in scope["headers"]
    }
    request.META["QUERY_STRING"] = scope["query_string"].decode("latin-1")
    request.GET = QueryDict(scope["query_string"])
    request.session = scope["session"]
    request.user = user_of(request.session.session_key) or AnonymousUser()  # a socket outlives the sign-out
    return request


def _id_of(sent: Any) -> int | None:
    id = sent.get("id") if isinstance(sent, dict) else None
    return id if isinstance(id, int) and not isinstance(id, bool) else None
