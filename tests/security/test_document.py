"""docs/security.md is written from the list: `WRITE_TABLES=1` writes it anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import test_attacks  # noqa: F401  (those that need a browser)
from tests.security import (  # noqa: F401  (each adds its attacks to the list)
    test_approvals,
    test_floods,
    test_load,
    test_login_and_http,
    test_model_output,
    test_objects_and_admin,
    test_second_factor,
    test_secrets_and_data,
    test_single_sign_on,
    test_sockets_and_streams,
    test_ssrf,
)
from tests.security.registry import ATTACKS
from tests.security.rest import ELSEWHERE, NOT_APPLICABLE, OPEN

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"

# Those that were left out while the list was made were doubles of others.
LEFT_OUT = {28, 36, 48, 58, 68, 71, 78, 93, 94, 97}
NUMBERS = set(range(1, 101)) - LEFT_OUT

CHAPTERS = {
    "Signing in, sessions, HTTP": range(1, 22),
    "WebSockets and streams": range(22, 31),
    "Other people's things, and the admin": range(31, 47),
    "Ways around an approval": range(47, 63),
    "What models and tools say": range(63, 77),
    "Addresses that are called": range(77, 82),
    "Secrets and data": range(82, 91),
    "More than one's share": range(91, 101),
}


def attacks() -> Iterator[str]:
    for title, numbers in CHAPTERS.items():
        yield f"\n### {title}\n"
        yield "| | attack | answer | control | known as | test |"
        yield "| ---: | --- | --- | --- | --- | --- |"
        for each in sorted(ATTACKS, key=lambda attack: attack.number):
            if each.number in numbers:
                cells = (each.what, each.answer, each.control, each.known_as, f"`{each.test}`")
                yield f"| {each.number} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def elsewhere() -> Iterator[str]:
    yield "| | attack, and its answer | test |"
    yield "| ---: | --- | --- |"
    for number, (what, test) in sorted(ELSEWHERE.items()):
        yield f"| {number} | {what} | `{test}` |"


def listed(sentences: dict[int, str]) -> Iterator[str]:
    if not sentences:
        yield "- Nothing of the list."
    for number, sentence in sorted(sentences.items()):
        yield f"- **{number}** {sentence}"


PARTS = {
    "attacks": "\n".join(attacks()),
    "elsewhere": "\n".join(elsewhere()),
    "not applicable": "\n".join(listed(NOT_APPLICABLE)),
    "open": "\n".join(listed(OPEN)),
    "counts": (
        f"{len({each.number for each in ATTACKS})} of the {len(NUMBERS)} numbers are attacked with a twin, in "
        f"{len(ATTACKS)} attacks; {len(set(ELSEWHERE) - {each.number for each in ATTACKS})} more are tested elsewhere, "
        f"{len(NOT_APPLICABLE)} have no subject here, and {len(OPEN)} are open."
    ),
}


def written(text: str) -> str:
    """The page with its parts as they are now."""
    for name, part in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{part}{end}{after}"
    return text


def test_every_number_is_accounted_for() -> None:
    attacked = {each.number for each in ATTACKS}

    assert attacked | set(ELSEWHERE) | set(NOT_APPLICABLE) | set(OPEN) == NUMBERS
    assert not attacked & (set(OPEN) | set(NOT_APPLICABLE))


@pytest.mark.parametrize("where", [test for _what, test in ELSEWHERE.values()])
def test_what_is_tested_elsewhere_is_there(where: str) -> None:
    path, _, name = where.partition("::")

    assert not name or f"def {name}(" in (ROOT / path).read_text()
    assert (ROOT / path).exists()


def test_no_two_attacks_are_one_test() -> None:
    assert len({each.test for each in ATTACKS}) == len(ATTACKS)


def test_the_document_is_this_list() -> None:
    if os.environ.get("WRITE_TABLES"):
        PAGE.write_text(written(PAGE.read_text()))

    assert PAGE.read_text() == written(PAGE.read_text())
