"""All routes of the chat's part, for whoever mounts them."""

from __future__ import annotations

from ninja import Router

from apps.chat.api import chat, sessions, tasks

router = Router()
for each in (chat.router, tasks.router, sessions.router):
    router.add_router("", each)
