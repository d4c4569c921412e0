from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def sign_in(request: HttpRequest) -> dict[str, Any]:
    """What of signing in is offered here."""
    return {
        "offers_factor": settings.STAFF_TOTP != "off",
        "offers_oidc": bool(settings.OIDC_ISSUER),
        "oidc_name": settings.OIDC_NAME,
    }
