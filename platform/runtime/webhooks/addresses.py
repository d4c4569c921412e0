"""Which addresses a webhook may go to: what somebody types must not reach into our own network.

Looked at twice: as it is typed, and at the connection, after the name was resolved, on the very address that is
then connected to. A name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import re
import socket
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

Address = IPv4Address | IPv6Address

# IPv6 forms that lead to the IPv4 address in their last 32 bits.
TRANSLATED = [ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("::/96")]
# A host made of these alone is a number in some notation: 2130706433, 0x7f.1, 0177.0.0.1.
NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class Inside(StrEnum):
    """Which setting names the hosts that are allowed although they are internal."""

    NOTIFICATIONS = "WEBHOOK_INTERNAL_HOSTS"
    RUNS = "RUN_WEBHOOK_HOSTS"


# As an administrator sets them.
_VARIABLES = {
    Inside.NOTIFICATIONS: "COUNTERSIGN_WEBHOOK_HOSTS",
    Inside.RUNS: "COUNTERSIGN_RUN_WEBHOOK_HOSTS",
}


class Refused(Exception):
    """The address may not be called. The text says why."""


def check_url(url: str, inside: Inside = Inside.NOTIFICATIONS) -> None:
    """Raises Refused for an address that may not be stored. Resolves nothing."""
    if UNSAFE.search(url):
        raise Refused(_("The address holds blanks or characters that don't belong there."))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refused(_("This is no address such as https://example.com/hook.")) from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise Refused(_("This is no address such as https://example.com/hook."))
    if parts.username is not None or parts.password is not None:
        raise Refused(_("A name or password in the address is not accepted."))
    if is_named(host, inside):
        return
    if parts.scheme != "https":
        raise Refused(_("The address must begin with https://."))
    _check_host(host, inside)


def _check_host(host: str, inside: Inside) -> None:
    literal = _literal(host)
    if literal is None and NUMERIC.fullmatch(host):
        raise Refused(_("Write the host as a name, or as a plain IP address."))
    if literal is not None:
        _check_address(literal, inside)
    name = host.rstrip(".").lower()
    if literal is None and ("." not in name or name.endswith((".localhost", ".local", ".internal"))):
        raise Refused(_internal(inside))


def is_named(host: str, inside: Inside) -> bool:
    """True for the hosts that the setting allows although they are internal."""
    return host.rstrip(".").lower() in {name.lower() for name in getattr(settings, inside.value)}


def resolve(host: str, port: int, inside: Inside) -> list[str]:
    """The addresses of the host that may be connected to. Raises Refused when one of them may not.

    One that is internal spoils all: which of them a connection took would be a matter of luck.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OSError(_("The host %(host)s is not known.") % {"host": host}) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not is_named(host, inside):
        for address in addresses:
            _check_address(ip_address(address.partition("%")[0]), inside)
    return addresses


def _check_address(address: Address, inside: Inside) -> None:
    if not is_public(address):
        raise Refused(_internal(inside))


def is_public(address: Address) -> bool:
    """False for loopback, private, link-local, metadata, multicast and reserved ones, however they are wrapped."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address.is_site_local:  # "global" to Python
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in TRANSLATED):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0].rstrip("."))
    except ValueError:
        return None


def _internal(inside: Inside) -> str:
    return _(
        "This address leads into an internal network. An administrator can allow its host in %(setting)s."
    ) % {"setting": _VARIABLES[inside]}
