"""Tells every page when answers come from the demo model."""

from __future__ import annotations

import os

from django.http import HttpRequest


def demo(request: HttpRequest) -> dict[str, bool]:
    return {"is_demo_model": bool(os.environ.get("COUNTERSIGN_DEMO_MODEL"))}
