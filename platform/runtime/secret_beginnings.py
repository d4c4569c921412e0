"""Where the end of a text may be the beginning of a secret: what a stream holds back until it is told.

Each beginning ends with a run of certain characters up to the end of the text. That run is looked for from the end
backwards, and what it begins with only within it and a little before: looking from the left would read a long run
again from each place in it that looks like the beginning of a key.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ALNUM = r"(?<![A-Za-z0-9])"
NAMED = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|api[ _-]?key|access[ _-]?key|(?:auth|access|refresh|api)[ _-]?token"
    r"|密码|口令|密钥"
)

LONGEST_OPEN = 16_384  # characters that may be the beginning of a secret; what is longer is none


class Beginning(NamedTuple):
    run: re.Pattern[str]
    """What it ends with, read backwards; it fits every text."""
    before: int
    """Characters before the run at which it may have begun."""
    pattern: re.Pattern[str]


def beginning(run: str, before: int, pattern: str) -> Beginning:
    return Beginning(re.compile(run), before, re.compile(rf"(?:{pattern})\Z"))


BEGINNINGS = (
    beginning(
        r"[\w.-]*",
        12,
        ALNUM + r"(?:[sr]k[-_]|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AIza|npm_|hf_|SG\.|pypi-|cs_"
        r"|A(?:KI|SI|BI|CC)A|eyJ)[\w.-]*+",
    ),
    beginning(r"={0,2}[\w.~+/-]*", 12, r"(?i:\bbearer|\bbasic)\s{0,3}[\w.~+/-]*+={0,2}"),
    beginning(
        r"[^\s\"'，。]*",
        40,
        rf"(?i:(?<![A-Za-z])(?:{NAMED}))(?:\\?[\"'])?\s{{0,3}}(?:[:=：]|is|i|是|为)?\s{{0,3}}(?:\\?[\"'])?[^\s\"'，。]*+",
    ),
    beginning(r"[^\s/@]*", 3, r"://[^\s/@]*+"),
    beginning(r"[\d -]{0,40}", 0, r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){2,15}[ -]?"),
)
_PRIVATE_KEY = re.compile(r"-----BEGIN(?:(?!-----END)[\s\S])*+(?:-----END[A-Z -]{0,40}\Z)?")


def open_from(text: str, beginnings: tuple[Beginning, ...]) -> int:
    """Where the first of them begins that goes on to the end of the text; its length when there is none."""
    least = max(0, len(text) - LONGEST_OPEN)
    backwards = text[:least:-1] + text[least] if text else ""
    found = [len(text)]
    for run, before, pattern in beginnings:
        ran = run.match(backwards)
        at = len(text) - (ran.end() if ran else 0) - before
        if match := pattern.search(text, max(least, at)):
            found.append(match.start())
    # A key that is whole is passed over in one go, so this reads everything once.
    keys = _PRIVATE_KEY.finditer(text, least)
    found += [match.start() for match in keys if match.end() == len(text)]
    return min(found)
