"""What browsers refused to run on our pages: a line of the log each. That there is any says that something got in."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

logger = logging.getLogger(__name__)

LIMIT = 16 * 1024  # bytes of a report
SHOWN = 200  # characters of what it says
MIME = "application/csp-report"


@require_POST
@csrf_exempt  # browsers send it by themselves; nothing is changed by it, and config.rate_limits counts it
def csp_report(request: HttpRequest) -> HttpResponse:
    if request.content_type != MIME or int(request.headers.get("Content-Length") or 0) > LIMIT:
        return HttpResponse(status=400)
    try:
        report = json.loads(request.body)["csp-report"]
        told = _told(dict(report))
    except (ValueError, KeyError, TypeError, RecursionError):
        return HttpResponse(status=400)
    logger.warning("browser refused", extra={"action": "csp_violation", **told})
    return HttpResponse(status=204)


def _told(report: dict[str, Any]) -> dict[str, str]:
    """Never an address's query, nor what would have run: either may hold what is nobody else's."""
    directive = report.get("effective-directive") or report.get("violated-directive") or ""
    return {
        "page": urlsplit(str(report.get("document-uri") or "")).path[:SHOWN],
        "directive": str(directive)[:SHOWN],
        "blocked": _origin(str(report.get("blocked-uri") or ""))[:SHOWN],
    }


def _origin(blocked: str) -> str:
    """A word such as "inline", or where it would have come from."""
    parts = urlsplit(blocked)
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else blocked.split("?")[0]
