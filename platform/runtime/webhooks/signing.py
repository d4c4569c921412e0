"""How a receiver knows that it was us."""

from __future__ import annotations

import hashlib
import hmac
import time
from uuid import UUID


def signed(delivery_id: UUID, body: bytes, secret: str) -> dict[str, str]:
    """The receiver holds HMAC-SHA256 of "<timestamp>.<body>" against the signature, and keeps the ids it has seen."""
    timestamp = str(int(time.time()))
    headers = {"Countersign-Delivery": str(delivery_id), "Countersign-Timestamp": timestamp}
    if secret:
        digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["Countersign-Signature"] = f"sha256={digest}"
    return headers
