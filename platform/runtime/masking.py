"""Secrets masked before anything is stored, logged or sent on: docs/adr/0010-masked-secrets.md says what, and where.

In place of a secret stands a mark such as `[masked:api-key:kfhabmclponmkfha]`: its kind, and a fingerprint under a key
of ours, so that one can be told from another and nobody finds out a short one by trying. Where the true value is still
needed, to run a tool with what was approved, it is kept beside the row, sealed, and put back at the last moment.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from accounts.seal import key

from runtime import seal
from runtime.secret_kinds import Found, found_in, is_over, is_plain, open_from

MARK = re.compile(r"\[masked:([a-z-]{1,20}):([a-p]{16})\]")
_MARKED = "[masked:"
# No digits: a mark must not look like a secret.
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
LOOKED_AT_EACH_TIME = 256  # characters that are held back and looked at again with each piece
BEFORE = 24  # characters that went out and are looked at again: where a secret may have begun

# Arguments and fields that hold secrets by their name, whatever these look like.
SECRET_NAMES = frozenset(
    (
        *(
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "passcode",
            "secret",
            "client_secret",
            "api_key",
            "apikey",
        ),
        *(
            "private_key",
            "access_token",
            "refresh_token",
            "auth_token",
            "authorization",
            "credentials",
            "cvv",
            "cvc",
        ),
    )
)

Values = dict[str, Any]
"""What stood in the place of each mark."""


def mask(text: str) -> str:
    """The text without its secrets."""
    return _replaced(text, found_in(text), None)


def masked(value: Any, names: Collection[str] = ()) -> Any:
    """JSON without its secrets; also without what fields of these names hold."""
    return taken(value, names)[0]


def taken(value: Any, names: Collection[str] = ()) -> tuple[Any, Values]:
    """JSON without its secrets, and what they were."""
    values: Values = {}
    return _walked(value, names, values), values


def _walked(value: Any, names: Collection[str], values: Values) -> Any:
    if isinstance(value, str):
        return _replaced(value, found_in(value), values) if len(value) > 5 else value
    if isinstance(value, Mapping):
        return {
            name: _marked(each, "declared", values)
            if _is_secret(name, each, names)
            else _walked(each, names, values)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walked(each, names, values) for each in value]
    if isinstance(value, int) and value > 10**12:
        return _marked(value, "card", values) if _is_all_secret(str(value)) else value
    return value


def _is_secret(name: Any, value: Any, names: Collection[str]) -> bool:
    if value in (None, "", True, False) or isinstance(value, Mapping):
        return False
    if isinstance(value, str) and MARK.fullmatch(value):
        return False
    is_by_name = (
        isinstance(name, str) and isinstance(value, str) and name.lower().replace("-", "_") in SECRET_NAMES
    )
    return name in names or is_by_name


def _is_all_secret(text: str) -> bool:
    return any(found.start == 0 and found.end == len(text) for found in found_in(text))


def _replaced(text: str, found: list[Found], values: Values | None, start: int = 0) -> str:
    """From `start` on; a secret that began before goes whole into its mark."""
    if _MARKED in text:
        marks = [Found(*match.span(), "mark") for match in MARK.finditer(text)]
        found = [each for each in found if not is_over(each, marks)]
    parts, at = [], start
    for each in found:
        if each.end > at:
            parts += [text[at : max(at, each.start)], _marked(text[each.start : each.end], each.kind, values)]
            at = each.end
    return "".join([*parts, text[at:]]) if parts else text[start:]


def _marked(value: Any, kind: str, values: Values | None) -> str:
    mark = f"[masked:{kind}:{_fingerprint(value)}]"
    if values is not None:
        values[mark] = value
    return mark


def _fingerprint(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return (
        hmac.new(key(seal.MASKED), text.encode(errors="replace"), sha256).hexdigest()[:16].translate(_LETTERS)
    )


# What is still needed


def kept(*values: Values, with_: str = "") -> str:
    """The values, sealed for the row they stand beside, with those that were sealed there before; empty for none."""
    merged: Values = {**values_of(with_), **{mark: value for each in values for mark, value in each.items()}}
    return seal.sealed(json.dumps(merged), seal.MASKED) if merged else ""


def is_of(mark: str, value: Any) -> bool:
    """Whether the mark is of this value, under the present key."""
    found = MARK.fullmatch(mark)
    return found is not None and hmac.compare_digest(found[2], _fingerprint(value))


def joined(*sealed: str) -> str:
    """Several as one."""
    filled = [each for each in sealed if each]
    return kept(*(values_of(each) for each in filled)) if len(filled) > 1 else "".join(filled)


def values_of(sealed: str) -> Values:
    """Raises seal.Unreadable."""
    return dict(json.loads(seal.opened(sealed, seal.MASKED))) if sealed else {}


def opened(value: Any, sealed: str) -> Any:
    """As it was before it was masked, of what is sealed beside it. A mark that is not stays what it is: a text."""
    return put_back(value, values_of(sealed)) if sealed else value


def put_back(value: Any, values: Values) -> Any:
    """With what stood in the place of each mark that is known."""
    if isinstance(value, str):
        return (
            values[value]
            if value in values
            else MARK.sub(lambda mark: str(values.get(mark[0], mark[0])), value)
        )
    if isinstance(value, dict):
        return {name: put_back(each, values) for name, each in value.items()}
    return [put_back(each, values) for each in value] if isinstance(value, list) else value


def marks_in(value: Any) -> set[str]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {match[0] for match in MARK.finditer(text)} if _MARKED in text else set()


def secret_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """The arguments that a JSON schema calls secret: `format: password`, or `writeOnly`."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return frozenset()
    return frozenset(
        name for name, each in properties.items() if isinstance(each, Mapping) and _is_declared(each)
    )


def _is_declared(schema: Mapping[str, Any]) -> bool:
    branches = [each for each in schema.get("anyOf", ()) if isinstance(each, Mapping)]
    return any(
        each.get("format") == "password" or each.get("writeOnly") is True for each in (schema, *branches)
    )


class StreamMask:
    """Masks a text that comes in pieces: what may be the beginning of a secret is held back until it is told."""

    def __init__(self) -> None:
        self._gone = ""  # the end of what went out
        self._held = ""
        self._more: list[str] = []  # what came since what is held was looked at
        self._more_size = 0

    def feed(self, piece: str) -> str:
        """What may go out by now."""
        if self._held:
            self._more.append(piece)
            self._more_size += len(piece)
            # A long word is looked at when it has grown by an eighth: at each piece, it would be read again each time.
            if 8 * self._more_size < len(self._held) - LOOKED_AT_EACH_TIME:
                return ""
            text = self._all()
            return self._give_out(text, max(open_from(text), len(self._gone)))
        text = self._gone + piece
        if is_plain(text):
            self._gone = text[-BEFORE:]
            return piece
        return self._give_out(text, max(open_from(text), len(self._gone)))

    def end(self) -> str:
        """The rest."""
        text = self._all()
        return self._give_out(text, len(text))

    def _all(self) -> str:
        return "".join((self._gone, self._held, *self._more))

    def _give_out(self, text: str, until: int) -> str:
        ready, self._held = text[:until], text[until:]
        self._more, self._more_size = [], 0
        given = _replaced(ready, found_in(ready), None, start=len(self._gone))
        self._gone = ready[-BEFORE:]
        return given
