"""What a person says in the input of a run: the messages that become rows, and the title of their thread."""

from __future__ import annotations

from typing import Any

from runtime.models import Message, Run


def said_in(run: Run) -> list[dict[str, Any]]:
    """The messages of a person in its input that the thread does not have yet: id and text of each."""
    messages = [message for message in (run.input or {}).get("messages", []) if message.get("role") == "user"]
    if run.options is not None:  # a program may send what it sent before, and more than text
        messages = [{**message, "content": _text(message["content"])} for message in messages]
        ids = [message["id"] for message in messages]
        known = set(
            Message.objects.filter(thread=run.thread_id, message_id__in=ids).values_list(
                "message_id", flat=True
            )
        )
        messages = [message for message in messages if message["id"] not in known]
    return messages


def _text(content: str | list[Any]) -> str:
    """Of a message in parts, the parts that are text."""
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, str) else part.get("text") for part in content]
    return "\n".join(part for part in parts if isinstance(part, str))


def title_of(text: str) -> str:
    """What an unnamed thread is called: its first message."""
    title = " ".join(text.split())
    return title if len(title) <= 60 else f"{title[:59]}…"
