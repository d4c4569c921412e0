#!/usr/bin/env python3
"""Django's command line. `platform/` is a source root, so it goes on the path and never becomes a package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"


def main() -> None:
    is_bare = sys.prefix == sys.base_prefix and (VENV / "bin" / "python").exists()
    if is_bare:  # ./manage.py and python3 manage.py do what they look like, without activating anything
        os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), *sys.argv])  # noqa: S606
    # Position 1: the script's own folder stays first.
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError
    from embedded.exceptions import EmbeddedError

    try:
        execute_from_command_line(sys.argv)
    except (
        ImproperlyConfigured,
        EmbeddedError,
    ) as error:  # a wrong environment value, an unusable data folder
        sys.exit(f"countersign: {error}")
    except OperationalError as error:
        sys.exit(f"countersign: {no_database(error)}")


def no_database(error: Exception) -> str:
    """What to do about a database that does not answer."""
    from django.conf import settings

    if settings.EMBEDDED:
        return f"No database answers in {settings.HOME}. Is `make run` running, with this COUNTERSIGN_HOME?"
    return f"The database of DATABASE_URL does not answer: {str(error).splitlines()[0]}"


if __name__ == "__main__":
    main()
