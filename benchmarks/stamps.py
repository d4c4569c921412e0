"""Tokens that say when they were sent, so that whoever reads one knows how long it travelled."""

from __future__ import annotations

import re
import time

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
WIDTH = 9  # base 36 digits: enough microseconds for three thousand years of uptime
TOKEN = re.compile(rf"[0-9a-z]{{{WIDTH}}} ")


def now() -> int:
    """Microseconds of CLOCK_MONOTONIC, the same clock in every process of a machine."""
    return time.monotonic_ns() // 1000


def stamp(at: int) -> str:
    """One token's text: `at` in a fixed width, and the space that parts it from the next."""
    digits = ""
    for _ in range(WIDTH):
        at, digit = divmod(at, 36)
        digits = DIGITS[digit] + digits
    return f"{digits} "


class Reader:
    """Takes a message's text as it comes, in pieces cut anywhere, and gives the age of each whole token in it."""

    def __init__(self) -> None:
        self._rest = ""
        self._newest = 0
        self.disordered = 0
        """Tokens that came after one that was sent later."""

    def ages(self, text: str) -> list[float]:
        """Milliseconds that each token which `text` completes has travelled."""
        read_at = now()
        text = self._rest + text
        end = 0
        found = []
        for token in TOKEN.finditer(text):
            sent_at = int(token.group(), 36)
            self.disordered += sent_at < self._newest
            self._newest = max(self._newest, sent_at)
            found.append((read_at - sent_at) / 1000)
            end = token.end()
        self._rest = text[end:]
        return found
