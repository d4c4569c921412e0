"""What a program puts into a graph's state: its messages in one form, and none that only the engine may write."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.utils.translation import gettext as _
from runtime.exceptions import MessageTooLong

from apps.chat.langgraph.bodies import Config
from apps.chat.langgraph.http import Problem

Json = dict[str, Any]

WHERE = {
    "thread_id",
    "run_id",
    "checkpoint_id",
    "checkpoint_ns",
    "checkpoint_map",
    "assistant_id",
    "graph_id",
}
"""Keys of a configuration that say where a graph runs: ours to say."""

ROLES = {"human": "user", "user": "user", "ai": "assistant", "assistant": "assistant", "system": "system"}
OURS = {"tool"}  # what a call came to is in the ledger, whatever a client believes: passed over


def clean(values: Any) -> Json:
    """The values, each of their messages with an id. Raises Problem for messages that may not come from outside."""
    if not isinstance(values, dict):
        raise Problem(_("input: an object, by the names of the graph's channels."))
    if "messages" not in values:
        return values
    given = values["messages"]
    messages = [_message(each) for each in (given if isinstance(given, list) else [given])]
    cleaned = [message for message in messages if message is not None]
    if sum(len(str(message["content"])) for message in cleaned) > settings.MESSAGE_MAX_CHARS:
        raise MessageTooLong(
            _("The messages have more than %(limit)s characters. Shorten them.")
            % {"limit": settings.MESSAGE_MAX_CHARS}
        )
    return {**values, "messages": cleaned}


def _message(given: Any) -> Json | None:
    if isinstance(given, str):
        given = {"role": "user", "content": given}
    if isinstance(given, list) and len(given) == 2:  # ["user", "Hello"]
        given = {"role": given[0], "content": given[1]}
    if not isinstance(given, dict):
        raise Problem(_("messages: each is an object with role and content."))
    kind = given.get("role") or given.get("type")
    if kind in OURS:
        return None
    role = ROLES.get(kind) if isinstance(kind, str) else None
    if role is None or given.get("tool_calls") or (given.get("additional_kwargs") or {}).get("tool_calls"):
        raise Problem(
            _("messages: only people's, the system's, and assistants' without tool calls may be sent.")
        )
    content = given.get("content", "")
    if not _is_content(content):
        raise Problem(_("messages: content is a text, or a list of parts."))
    id = given.get("id") or str(uuid4())
    if not isinstance(id, str) or len(id) > 100:
        raise Problem(_("messages: an id is a text of at most 100 characters."))
    return {"role": role, "content": content, "id": id}


def _is_content(content: Any) -> bool:
    if isinstance(content, str):
        return True
    return isinstance(content, list) and all(isinstance(part, str | dict) for part in content)


def config(given: Config) -> Json:
    """Without what says where a graph runs."""
    kept = given.model_dump(exclude_none=True)
    configurable = kept.get("configurable", {})
    kept["configurable"] = {
        name: value for name, value in configurable.items() if name not in WHERE and not name.startswith("__")
    }
    return kept
