from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def sign_in(request: HttpRequest) -> dict[str, bool]:
    """What of signing in is offered here."""
    return {"offers_factor": settings.STAFF_TOTP != "off"}
