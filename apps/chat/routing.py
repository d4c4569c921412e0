from __future__ import annotations

from django.urls import URLPattern, path

from apps.chat.api.sockets import ProgramConsumer
from apps.chat.consumers import ThreadConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/threads/<uuid:thread_id>/", ThreadConsumer.as_asgi()),
]

program_socket = ProgramConsumer.as_asgi()
"""At /ws/v1/, behind a rule of its own about origins."""
