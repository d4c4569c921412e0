#!/usr/bin/env python
"""Django's command line. `platform/` is a source root, so it goes on the path and never becomes a package."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    # Position 1: after the standard library's own `platform` could be shadowed by nothing of ours.
    sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from embedded.exceptions import EmbeddedError

    try:
        execute_from_command_line(sys.argv)
    except (
        ImproperlyConfigured,
        EmbeddedError,
    ) as error:  # a wrong environment value, an unusable data folder
        sys.exit(f"countersign: {error}")


if __name__ == "__main__":
    main()
