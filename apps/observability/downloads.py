"""How many downloads a process serves at once: each holds some rows, a connection for a moment, and a reader's pace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from threading import Lock
from time import monotonic

from django.http import StreamingHttpResponse
from django.utils.translation import gettext_lazy as _
from runtime.exceptions import RuntimeRefusal

AT_ONCE = 8  # of one process
EACH = 2  # of one person, in one process
STALE = 60.0  # seconds without a piece asked for, after which one counts no more, whatever became of it


class TooManyDownloads(RuntimeRefusal):
    """As many downloads are under way as there may be."""

    status = 429
    retry_after = 10
    message = _("Too many downloads are under way. Wait until one of them ends, then try again.")


class Download:
    """One that counts."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.seen = monotonic()


_lock = Lock()
_open: set[Download] = set()


def begin(user_id: int) -> Download:
    """Counts one more, until its `end`. Raises TooManyDownloads."""
    with _lock:
        now = monotonic()
        _open.difference_update([each for each in _open if now - each.seen > STALE])
        own = sum(each.user_id == user_id for each in _open)
        if own >= EACH or len(_open) >= AT_ONCE:
            raise TooManyDownloads
        _open.add(begun := Download(user_id))
        return begun


def end(download: Download) -> None:
    with _lock:
        _open.discard(download)


class DownloadResponse(StreamingHttpResponse):
    """Counts until it is closed, which the server does however it ends."""

    def __init__(
        self, download: Download, pieces: AsyncIterator[str], *, name: str, content_type: str
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        self._download = download
        super().__init__(_seen(download, pieces), content_type=content_type, headers=headers)

    def close(self) -> None:
        end(self._download)
        super().close()


async def _seen(download: Download, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    # Asynchronous: of a plain iterator Django would gather the whole in memory first.
    async for piece in pieces:
        download.seen = monotonic()
        yield piece
    end(download)
