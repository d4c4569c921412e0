"""The export: events as JSON Lines, and a last line with the chain's head, signed with a key of this installation."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from runtime.audit import chain
from runtime.audit.record import append
from runtime.audit.verify_export import canonical


class OutOfRange(ValueError):
    """There are no such events."""


class Export:
    """Lines of the events `since` to `until`, then the signed head. A page at a time, and a page in memory.

    Nothing has to be held open between two pages: what is sealed stays as it is, and later events are none of it.
    """

    def __init__(self, since: int, until: int) -> None:
        self._key = private_key()  # before anything is written: an export without a signature is none
        self._after, self._until, self._count = since - 1, until, 0
        self._seq, self._hash = self._after, _hash_of(self._after)
        self._previous = self._hash

    def page(self) -> str:
        """The next lines; empty after the last event."""
        links = list(chain.page(after=self._seq, until=self._until))
        if links:
            self._seq, self._hash = links[-1].seq, links[-1].hash
        self._count += len(links)
        return "".join(json.dumps(asdict(link), ensure_ascii=False) + "\n" for link in links)

    def head(self) -> str:
        """The last line."""
        head = {
            "after": self._after,
            "previous": self._previous,
            "seq": self._seq,
            "hash": self._hash,
            "count": self._count,
            "at": chain.time_text(datetime.now(UTC)),
        }
        signature = base64.b64encode(self._key.sign(canonical(head))).decode()
        return json.dumps({"head": head, "signature": signature}) + "\n"

    def lines(self) -> Iterator[str]:
        """All of it, in pages."""
        while page := self.page():
            yield page
        yield self.head()


def begin(since: int = 1, until: int | None = None) -> Export:
    """An export, told in the audit as such: it does not hold that event itself. Raises OutOfRange."""
    end = chain.head().seq
    until = end if until is None else until
    if not 1 <= since <= until <= end:
        raise OutOfRange(end)
    export = Export(since, until)
    append("audit.exported", subject=("audit", ""), after={"since": since, "until": until})
    return export


def _hash_of(seq: int) -> str:
    found = next(iter(chain.page(after=seq - 1, until=seq)), None)
    return found.hash if found else ""


def public_key() -> str:
    """PEM, for whoever checks an export."""
    public = private_key().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_key() -> Ed25519PrivateKey:
    """The key in the file of the setting; made on first use where the setting was left to itself."""
    path = Path(settings.AUDIT_KEY)
    if not path.exists() and settings.AUDIT_KEY_IS_OURS:
        _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, TypeError, ValueError) as error:
        message = f"COUNTERSIGN_AUDIT_KEY: no private key can be read from {path}: {error}"
        raise ImproperlyConfigured(message) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ImproperlyConfigured(f"COUNTERSIGN_AUDIT_KEY: {path} holds no Ed25519 key.")
    return key


def _make(path: Path) -> None:
    """A whole file with mode 0600, or, of two who make it at once, the other's."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
