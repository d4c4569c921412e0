"""Requests that have not come whole: bounded in time and in number, so that who holds them open holds up nobody.

Twisted's own time limit begins anew with each byte, and a process that is out of descriptors answers nobody.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

logger = logging.getLogger(__name__)

READ_WITHIN = 30.0  # seconds from a connection, or a request's first line, to all of the request
IDLE_WITHIN = 60.0  # seconds from an answer to the next request's first line
AT_MOST = 500  # of one process: one more, and the oldest is dropped
SWEEP_EVERY = 1.0  # seconds


class Unfinished:
    """The connections of this process on which a request is awaited, the oldest first."""

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}
        self._is_swept = False

    def __len__(self) -> int:
        return len(self._until)

    def begin(self, channel: Any, within: float) -> None:
        """From now on a request is awaited on this channel of Twisted's."""
        self._until.pop(channel, None)
        self._until[channel] = monotonic() + within
        if len(self._until) > AT_MOST:
            self._drop(next(iter(self._until)))
        if not self._is_swept:
            self._is_swept = True
            channel.callLater(SWEEP_EVERY, self._sweep, channel.callLater)

    def end(self, channel: Any) -> None:
        """It is whole, or will never be."""
        self._until.pop(channel, None)

    def _sweep(self, call_later: Any) -> None:
        now = monotonic()
        for channel in [channel for channel, until in self._until.items() if until < now]:
            self._drop(channel)
        self._is_swept = bool(self._until)
        if self._is_swept:
            call_later(SWEEP_EVERY, self._sweep, call_later)

    def _drop(self, channel: Any) -> None:
        self.end(channel)
        logger.debug("request given up", extra={"action": "request_given_up"})
        if channel.transport is not None:
            channel.transport.abortConnection()
