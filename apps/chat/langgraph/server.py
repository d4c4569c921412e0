"""What the API says of itself."""

from __future__ import annotations

from importlib.metadata import version

from django.db import connection
from django.http import HttpRequest, HttpResponse

from apps.chat.langgraph.http import ApiRequest, answered, flag, told

VERSION = "0.1.0"  # of this surface: docs/compatibility.md


def info(request: ApiRequest) -> HttpResponse:
    host = dict.fromkeys(("project_id", "host_revision_id", "revision_id", "tenant_id"))
    return answered(
        {
            "version": VERSION,
            "langgraph_py_version": version("langgraph"),
            "flags": {"assistants": True, "crons": True, "langsmith": False, "strict_resume": True},
            "host": {"kind": "self-hosted", **host},
        }
    )


def ok(request: HttpRequest) -> HttpResponse:
    """Anybody may ask; it tells nothing else."""
    if flag(request, "check_db"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    return answered({"ok": True})


def missing(request: ApiRequest, rest: str) -> HttpResponse:
    return told("Not Found", 404)
