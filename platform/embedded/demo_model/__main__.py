"""`python -m embedded.demo_model --port 8100`: serves until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import suppress

from embedded.demo_model.server import Server

# Faster with many streams. Without it the standard library is enough.
with suppress(ImportError):
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def read_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="embedded.demo_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed")
    parser.add_argument("--delay", type=float, default=20.0, metavar="MS", help="before each token")
    return parser.parse_args(argv)


def main() -> None:
    arguments = read_arguments()
    with suppress(KeyboardInterrupt):
        asyncio.run(Server(delay=arguments.delay / 1000).serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
