"""All routes of the chat's part, for whoever mounts them."""

from __future__ import annotations

from ninja import Router

from apps.chat.api import analyses, batches, chat, sessions, tasks

router = Router()
for each in (chat.router, tasks.router, batches.router, analyses.router, sessions.router):
    router.add_router("", each)
