from __future__ import annotations

from django.urls import URLPattern, path

from apps.chat.consumers import ThreadConsumer
from apps.chat.langgraph.protocol.consumers import ProtocolConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/threads/<uuid:thread_id>/", ThreadConsumer.as_asgi()),
    path("api/langgraph/threads/<uuid:thread_id>/stream/events", ProtocolConsumer.as_asgi()),
]
