from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path

from apps.chat.api.sockets import ProgramConsumer
from apps.chat.consumers import ThreadConsumer
from apps.chat.langgraph.protocol.consumers import ProtocolConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/threads/<uuid:thread_id>/", ThreadConsumer.as_asgi()),
]

program_sockets: dict[str, Any] = {
    "ws/v1/": ProgramConsumer.as_asgi(),
    "api/langgraph/threads/<uuid:thread_id>/stream/events": ProtocolConsumer.as_asgi(),
}
"""By their routes. They look at keys and tokens, so their rule about origins is another than that of pages."""
