"""Where the web server listens, and what it answers there."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from embedded.exceptions import EmbeddedError

PROBE_TIMEOUT = 5.0  # seconds
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared with, never bound to unasked)


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def from_environment(cls) -> Address:
        """HOST and PORT, by default 127.0.0.1:8000. EmbeddedError names the one that is wrong."""
        raw = os.environ.get("PORT") or "8000"
        if not (raw.isascii() and raw.isdigit() and 0 < int(raw) < 65536):
            raise EmbeddedError(f"PORT={raw!r} is not a port number (1 to 65535). Correct it or unset it.")
        return cls(os.environ.get("HOST") or "127.0.0.1", int(raw))

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can reach it."""
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def get(self, path: str, *, host_header: str = "localhost") -> tuple[int, bytes]:
        """Status and body of a GET; (0, b"") while nothing answers. Never through a proxy."""
        connection = http.client.HTTPConnection(
            EVERY_ADDRESS.get(self.host, self.host), self.port, timeout=PROBE_TIMEOUT
        )
        # As the proxy in front would: with COUNTERSIGN_HTTPS the plain request would be redirected.
        headers = {"Host": host_header, "X-Forwarded-Proto": "https"}
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def get_json(self, path: str, *, host_header: str = "localhost") -> dict[str, Any]:
        """The JSON object answered, whatever the status; {} when there is none."""
        _, body = self.get(path, host_header=host_header)
        with suppress(ValueError):
            answer = json.loads(body)
            return answer if isinstance(answer, dict) else {}
        return {}
