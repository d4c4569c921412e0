"""What a request can be refused with, in the JSON shape of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping

from embedded.demo_model.schemas import JSONObject

TYPES = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}


class ApiError(Exception):
    """A refusal: `status` and `message` go to the client. The code follows from the status unless given."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status)
        self.headers = headers or {}

    def as_json(self) -> JSONObject:
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}


class Abort(Exception):
    """The connection is to be closed in the middle of an answer."""
