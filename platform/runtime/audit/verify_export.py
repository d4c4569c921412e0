"""Checks an export of the audit: `python verify_export.py audit.jsonl --key audit-public.pem`.

Stands alone: it needs Python and the `cryptography` package, nothing of the product that wrote the file. Each line is
one event; its hash is SHA-256 over the hash before it, its number, its time and its body. The last line holds the
chain's head with an Ed25519 signature.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

NEARBY = 1000  # numbers that are tried to find out where an event was moved from
EVENT_KEYS = {"seq": int, "at": str, "previous": str, "hash": str, "body": str}


class Broken(Exception):
    """The first event at which the chain does not hold. `kind`: changed, missing, reordered, cut or unsigned."""

    def __init__(self, seq: int, kind: str, detail: str) -> None:
        super().__init__(f"event {seq}: {kind}: {detail}")
        self.seq, self.kind = seq, kind


@dataclass(frozen=True)
class Link:
    """One sealed event."""

    seq: int
    at: str
    previous: str
    hash: str
    body: str

    def digest(self, *, seq: int | None = None) -> str:
        text = "\n".join((self.previous, str(self.seq if seq is None else seq), self.at, self.body))
        return sha256(text.encode()).hexdigest()


def check_links(links: Iterable[Link], *, after: int = 0, previous: str = "") -> Iterator[Link]:
    """Yields each link once it is known to follow on the one before. Raises Broken at the first that does not."""
    last: Link | None = None
    rest = iter(links)
    for link in rest:
        expected = last.seq + 1 if last else after + 1
        if link.seq != expected:
            raise _out_of_step(link, expected, rest)
        if link.digest() != link.hash:
            raise _altered(link)
        if link.previous != (last.hash if last else previous):
            raise _not_linked(link, last)
        last = link
        yield link


def _out_of_step(link: Link, expected: int, rest: Iterator[Link]) -> Broken:
    if link.seq < expected:
        return Broken(link.seq, "reordered", f"comes where event {expected} should be.")
    if any(later.seq == expected for later in rest):
        return Broken(expected, "reordered", f"comes after event {link.seq}.")
    return Broken(expected, "missing", f"the next one there is event {link.seq}.")


def _altered(link: Link) -> Broken:
    for seq in range(max(1, link.seq - NEARBY), link.seq + NEARBY):
        if link.digest(seq=seq) == link.hash:
            return Broken(link.seq, "reordered", f"was sealed as event {seq}.")
    return Broken(link.seq, "changed", "its hash is not that of what it holds.")


def _not_linked(link: Link, last: Link | None) -> Broken:
    if last is None:
        return Broken(link.seq, "cut", "it is not what the chain began with.")
    return Broken(last.seq, "changed", f"event {link.seq} was sealed on another hash than it has now.")


def canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def check_file(lines: Iterable[str], public_pem: bytes) -> dict[str, Any]:
    """The signed head of an export in which every link holds. Raises Broken."""
    links, head = _parse(lines)
    signed = _signed(head, links, public_pem)
    found = (signed["after"], signed["previous"], 0)
    for link in check_links(links, after=signed["after"], previous=signed["previous"]):
        found = (link.seq, link.hash, found[2] + 1)
    if found[0] < signed["seq"]:
        raise Broken(found[0] + 1, "cut", f"the signed head is event {signed['seq']}.")
    if found != (signed["seq"], signed["hash"], signed["count"]):
        raise Broken(found[0], "changed", "the chain does not end in the signed head.")
    return signed


def _parse(lines: Iterable[str]) -> tuple[list[Link], dict[str, Any]]:
    links: list[Link] = []
    head: dict[str, Any] | None = None
    for number, line in enumerate(lines, 1):
        if head is not None:
            raise Broken(len(links), "changed", f"line {number} comes after the head.")
        try:
            entry = json.loads(line)
            if "head" in entry:
                head = entry
                continue
            if entry.keys() != EVENT_KEYS.keys() or any(
                type(entry[key]) is not kind for key, kind in EVENT_KEYS.items()
            ):
                raise ValueError("its fields are others")
        except (ValueError, TypeError, AttributeError) as error:
            seq = links[-1].seq + 1 if links else 0
            raise Broken(seq, "changed", f"line {number} is no event: {error}.") from error
        links.append(Link(**entry))
    if head is None:
        raise Broken(links[-1].seq + 1 if links else 0, "cut", "there is no signed head at the end.")
    return links, head


def _signed(entry: dict[str, Any], links: list[Link], public_pem: bytes) -> dict[str, Any]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(public_pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("The key is no Ed25519 public key.")
    end = links[-1].seq if links else 0
    try:
        head: dict[str, Any] = entry["head"]
        key.verify(base64.b64decode(entry["signature"], validate=True), canonical(head))
        return {name: head[name] for name in ("after", "previous", "seq", "hash", "count", "at")}
    except (InvalidSignature, KeyError, TypeError, binascii.Error) as error:
        raise Broken(end, "unsigned", "the head's signature is not by this key.") from error


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an export of the audit.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="the public key, PEM")
    arguments = parser.parse_args()
    try:
        with arguments.file.open(encoding="utf-8", newline="\n") as lines:
            head = check_file(lines, arguments.key.read_bytes())
    except (Broken, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{head['count']} events, to event {head['seq']}: every link holds, the head is signed.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
