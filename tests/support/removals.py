"""Controls of the web process, taken away before it starts: `REMOVAL` names the function (tests.support.witness)."""

from __future__ import annotations


def flow() -> None:
    """Whatever is sent waits in memory for its reader, as in Daphne."""
    from config import server

    server.Flow.pauseProducing = lambda self: None  # type: ignore[method-assign]
