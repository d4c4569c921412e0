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
from runtime.audit.verify_export import canonical


def export(*, after: int = 0, until: int | None = None) -> Iterator[str]:
    """Lines of the events numbered `after` + 1 to `until`, then the signed head. In a transaction of one moment."""
    key = private_key()  # before anything is written: an export without a signature is none
    seq, digest, count = after, _hash_of(after), 0
    previous = digest
    for link in chain.links(after=after, until=until):
        seq, digest, count = link.seq, link.hash, count + 1
        yield json.dumps(asdict(link), ensure_ascii=False) + "\n"
    head = {
        "after": after,
        "previous": previous,
        "seq": seq,
        "hash": digest,
        "count": count,
        "at": chain.time_text(datetime.now(UTC)),
    }
    signature = base64.b64encode(key.sign(canonical(head))).decode()
    yield json.dumps({"head": head, "signature": signature}) + "\n"


def _hash_of(seq: int) -> str:
    found = next(chain.links(after=seq - 1, until=seq), None)
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
