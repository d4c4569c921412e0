"""A pool's own check is an empty query before every use: 24 of the 86 statements of a turn were that.

A server that has gone closes its sockets, so something is there to be read: only then the server is asked.
"""

from __future__ import annotations

import select
from typing import Any

import psycopg
from django_prometheus.db.backends.postgresql import base
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool


def is_quiet(connection: Connection[Any] | AsyncConnection[Any]) -> bool:
    """Nothing has come from the server since the last answer: neither its goodbye nor a message. No round trip."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


async def check(connection: AsyncConnection[Any]) -> None:
    """For a pool. Raises what the connection raises when it is broken."""
    if not is_quiet(connection):
        await AsyncConnectionPool.check_connection(connection)


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # django_prometheus has no types
    """CONN_HEALTH_CHECKS has to be off: Django would ask the server as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._params: dict[str, dict[str, Any]] = {}  # by the database's name, which tests change

    def get_connection_params(self) -> dict[str, Any]:
        """The same every time; putting them together makes a class of cursors."""
        name = self.settings_dict["NAME"]
        if name not in self._params:
            self._params[name] = super().get_connection_params()
        return self._params[name]

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """The pool's next connection that still has a server at its other end."""
        while True:
            connection = super().get_new_connection(conn_params)
            if self.pool is None or is_quiet(connection):
                return connection
            try:
                ConnectionPool.check_connection(connection)
            except psycopg.Error:
                self.pool.putconn(connection)  # which sees that it is broken, and makes a new one
            else:
                return connection
