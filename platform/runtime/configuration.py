"""How a graph is called for a run: what its assistant's version says, and over that what the run brings itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from langchain_core.runnables import RunnableConfig

from runtime import masking
from runtime.models import Run


def config_of(run: Run) -> RunnableConfig:
    """Of a program's configuration all but what decides where, and how far, the graph runs."""
    usual = masking.opened(run.version.config, run.version.sealed) if run.version else {}
    given = masking.opened(run.config or {}, run.sealed)
    configurable = {**usual.get("configurable", {}), **given.get("configurable", {})}
    limits = [each["recursion_limit"] for each in (given, usual) if "recursion_limit" in each]
    config: RunnableConfig = {
        "configurable": {**configurable, "thread_id": str(run.thread_id)},
        "metadata": {**(run.metadata or {}), "run_id": str(run.pk)},
        "recursion_limit": min([*limits[:1], settings.RUN_STEP_LIMIT]),
    }
    if tags := [*usual.get("tags", []), *given.get("tags", [])]:
        config["tags"] = list(dict.fromkeys(tags))
    return config


def context_of(run: Run) -> Any:
    """What the graph finds as its runtime's context; None where nobody gave one."""
    usual = masking.opened(run.version.context, run.version.sealed) if run.version else {}
    given = masking.opened(run.context, run.sealed)
    if usual and isinstance(given, dict):
        return {**usual, **given}
    return (usual or None) if given is None else given
