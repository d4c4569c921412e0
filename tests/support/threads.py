"""Several things done at once, each on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connections


def together(*works: Callable[[], object], within: float = 60.0) -> list[str]:
    """Each in a thread, "work 0" and so on; what went wrong. Fails when one has not ended `within` seconds."""
    errors = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            errors.append(repr(error))
        finally:
            connections.close_all()

    # Daemons: one that hangs must not keep the process from its end as well.
    threads = [
        threading.Thread(target=run, args=[work], name=f"work {at}", daemon=True)
        for at, work in enumerate(works)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within)
        assert not thread.is_alive(), f"{thread.name} has not ended"
    return errors
