"""`python -m embedded.gate DESCRIPTOR web|worker ARGUMENT...`: imports all it needs, and begins when the gate opens.

Its imports take seconds; so do the servers and the migrations that it must not begin before. The gate is a pipe: it
is open once nobody holds its other end.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

PRELOADED = {
    "web": (
        "config.server",
        "config.asgi",
        "config.urls",
    ),  # config.server first: it installs Twisted's reactor
    "worker": ("config.asgi", "runtime.worker"),  # config.asgi sets Django up
}


def main() -> None:
    gate, program, *arguments = sys.argv[1:]
    for name in PRELOADED[program]:
        import_module(name)
    os.read(int(gate), 1)
    if program == "web":
        sys.argv = ["config.server", *arguments]
        import_module("config.server").main()
    else:
        sys.argv = ["manage.py", program, *arguments]
        import_module("manage").main()


if __name__ == "__main__":
    main()
