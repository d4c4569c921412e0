"""The sockets of the queue."""

from __future__ import annotations

from django.urls import path

from apps.approvals.consumers import QueueConsumer

websocket_urlpatterns = [path("ws/approvals/", QueueConsumer.as_asgi())]
