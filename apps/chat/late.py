"""Answers whose status is known only after a wait that no thread of the server may be held for."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils import translation
from django.utils.translation import gettext as _
from runtime.database import is_away

logger = logging.getLogger(__name__)


class LateResponse(StreamingHttpResponse):
    """What `work` answers, worked out on the event loop after the view and all middleware are through.

    Whoever sends it awaits `settle` first (`config.http`): until then its status is 200, whatever comes of it.
    """

    def __init__(self, work: Callable[[], Awaitable[HttpResponse]]) -> None:
        super().__init__(self._whole(), content_type="application/json")
        self._work = work
        self._language = translation.get_language()
        self._found: HttpResponse | None = None

    async def settle(self) -> None:
        with translation.override(self._language):
            self._found = await self._answer()
        self.status_code = self._found.status_code
        for name, value in self._found.headers.items():
            self.headers[name] = value

    async def _answer(self) -> HttpResponse:
        try:
            return await self._work()
        except Exception as error:
            if not is_away(error):
                logger.exception("late answer failed", extra={"action": "late_answer_failed"})
                return JsonResponse(
                    {"detail": _("Something went wrong here. The log says what.")}, status=500
                )
            logger.error("database away", exc_info=error, extra={"action": "database_away"})
            text = _("The database can't be reached right now. Nothing was changed: try again in a moment.")
            return JsonResponse({"detail": text}, status=503, headers={"Retry-After": "5"})

    async def _whole(self) -> AsyncGenerator[bytes]:
        if self._found is None:
            await self.settle()
        if self._found is not None:
            yield self._found.content
