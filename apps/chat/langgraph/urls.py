from __future__ import annotations

from django.urls import URLPattern, path

from apps.chat.langgraph import assistants, crons, runs, server, states, store, threads
from apps.chat.langgraph.http import route
from apps.chat.langgraph.protocol import views as protocol

EVERY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")

A = "assistants/<str:assistant_id>"
T = "threads/<str:thread_id>"
R = f"{T}/runs/<str:run_id>"

urlpatterns: list[URLPattern] = [
    path("ok", server.ok),
    path("info", route(GET=server.info)),
    path("assistants", route(POST=assistants.create)),
    path("assistants/search", route(POST=assistants.search)),
    path("assistants/count", route(POST=assistants.count)),
    path(A, route(GET=assistants.show, PATCH=assistants.change, DELETE=assistants.delete)),
    path(f"{A}/versions", route(POST=assistants.versions)),
    path(f"{A}/latest", route(POST=assistants.latest)),
    path(f"{A}/subgraphs", route(GET=assistants.subgraphs)),
    path(f"{A}/subgraphs/<str:namespace>", route(GET=assistants.subgraphs)),
    path(f"{A}/schemas", route(GET=assistants.schemas)),
    path(f"{A}/graph", route(GET=assistants.graph)),
    path("threads", route(POST=threads.create)),
    path("threads/search", route(POST=threads.search)),
    path("threads/count", route(POST=threads.count)),
    path("threads/prune", route(POST=threads.prune)),
    path(T, route(GET=threads.show, PATCH=threads.change, DELETE=threads.delete)),
    path(f"{T}/copy", route(POST=threads.copy)),
    path(f"{T}/stream", route(GET=runs.stream_thread)),
    path(f"{T}/stream/events", route(POST=protocol.stream_events)),
    path(f"{T}/commands", route(POST=protocol.command)),
    path(f"{T}/state", route(GET=states.show, POST=states.update)),
    path(f"{T}/state/checkpoint", route(POST=states.at_checkpoint)),
    path(f"{T}/state/<str:checkpoint_id>", route(GET=states.show)),
    path(f"{T}/history", route(GET=states.history_by_query, POST=states.history)),
    path(f"{T}/runs", route(GET=runs.index, POST=runs.create)),
    path(f"{T}/runs/stream", route(POST=runs.create_and_stream)),
    path(f"{T}/runs/wait", route(POST=runs.create_and_wait)),
    path(f"{T}/runs/crons", route(POST=crons.create)),
    path(R, route(GET=runs.show, DELETE=runs.delete)),
    path(f"{R}/cancel", route(POST=runs.cancel)),
    path(f"{R}/join", route(GET=runs.join)),
    path(f"{R}/stream", route(GET=runs.stream)),
    path("runs", route(POST=runs.create)),
    path("runs/stream", route(POST=runs.create_and_stream)),
    path("runs/wait", route(POST=runs.create_and_wait)),
    path("runs/cancel", route(POST=runs.cancel_many)),
    path("runs/batch", route(POST=runs.create_batch)),
    path("runs/crons", route(POST=crons.create)),
    path("runs/crons/search", route(POST=crons.search)),
    path("runs/crons/count", route(POST=crons.count)),
    path("runs/crons/<str:cron_id>", route(PATCH=crons.change, DELETE=crons.delete)),
    path("store/items", route(GET=store.show, PUT=store.put, DELETE=store.delete)),
    path("store/items/search", route(POST=store.search)),
    path("store/namespaces", route(POST=store.namespaces)),
    path("<path:rest>", route(**dict.fromkeys(EVERY_METHOD, server.missing))),
]
