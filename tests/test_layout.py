"""The layout that everything else stands on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def fresh(code: str) -> str:
    """What a new interpreter at the root prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_platform_is_a_source_root_and_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()


def test_the_standard_librarys_platform_wins() -> None:
    assert fresh("import platform, redis, httpx; print(platform.system())")


def test_web_processes_never_load_langgraph() -> None:
    code = """
import os, sys
sys.path.insert(1, "platform")
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import config.asgi
from django.urls import get_resolver
get_resolver().url_patterns
print([name for name in ("langgraph", "langchain", "langchain_core", "langchain_openai") if name in sys.modules])
"""
    assert fresh(code) == "[]"


def test_strict_msgpack_is_on_before_langgraph_is_imported() -> None:
    code = "import os, sys; sys.path.insert(1, 'platform'); import runtime"
    assert fresh(f"{code}; print(os.environ['LANGGRAPH_STRICT_MSGPACK'])") == "true"
