"""The ASGI application: pages by Django, sockets by Channels."""

from __future__ import annotations

import os

from config.http import application as http_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = http_application()

# After the apps are loaded: consumers import models.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from apps.approvals.routing import websocket_urlpatterns as approvals_sockets  # noqa: E402
from apps.chat.routing import program_sockets  # noqa: E402
from apps.chat.routing import websocket_urlpatterns as chat_sockets  # noqa: E402
from config.sockets import KnownOrigin, NoSuchSocket, SameOrigin  # noqa: E402

# Last: whatever else is asked for.
no_such_socket = re_path(r"", NoSuchSocket.as_asgi())

pages = SameOrigin(AuthMiddlewareStack(URLRouter([*chat_sockets, *approvals_sockets, no_such_socket])))
programs = [
    path(route, KnownOrigin(AuthMiddlewareStack(socket))) for route, socket in program_sockets.items()
]

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter([*programs, re_path(r"", pages)]),
    }
)
