from __future__ import annotations

from django.urls import URLPattern, path

from apps.chat.consumers import ThreadConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/threads/<uuid:thread_id>/", ThreadConsumer.as_asgi()),
]
