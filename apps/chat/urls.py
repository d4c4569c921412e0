from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from apps.chat.views import messages, preferences, threads

urlpatterns: list[URLPattern | URLResolver] = [
    path("", threads.home, name="chat-home"),
    path("threads/", threads.new, name="chat-new"),
    path("threads/list/", threads.sidebar, name="chat-threads"),
    path("threads/<uuid:thread_id>/", threads.show, name="chat-thread"),
    path("threads/<uuid:thread_id>/messages/", messages.send, name="chat-send"),
    path("threads/<uuid:thread_id>/stop/", messages.stop, name="chat-stop"),
    path("threads/<uuid:thread_id>/rename/", threads.rename, name="chat-rename"),
    path("threads/<uuid:thread_id>/delete/", threads.delete, name="chat-delete"),
    path(
        "threads/<uuid:thread_id>/tool-calls/<uuid:tool_call_id>/withdraw/",
        messages.withdraw,
        name="chat-withdraw",
    ),
    path(
        "threads/<uuid:thread_id>/tool-calls/<uuid:tool_call_id>/answer/",
        messages.answer,
        name="chat-answer",
    ),
    path("theme/", preferences.set_theme, name="set-theme"),
    path("i18n/", include("django.conf.urls.i18n")),
]
