"""Text as an approver may trust it: what can't be seen, or turns the reading order, is written as an escape."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

# Letters and symbols by category, yet drawn as nothing: fillers, blank Braille, variation selectors.
_BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
_BLANK_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def visible(text: str) -> SafeString:
    """HTML of `text`: escaped, line ends kept, every character without a shape shown as its escape."""
    return mark_safe("".join(_shown(char) for char in text.replace("\r\n", "\n")))  # noqa: S308


def value(value: Any, *, limit: int | None = None) -> SafeString:
    """HTML of one argument as JSON, so that "1" and 1 look different and a line end is written out."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if limit is None or len(text) <= limit:
        return visible(text)
    return format_html("{}…", visible(text[:limit]))


def is_shapeless(char: str) -> bool:
    if char == " " or char == "\n":
        return False
    return unicodedata.category(char) in _BLANK_CATEGORIES or ord(char) in _BLANK


@lru_cache(
    4096
)  # a list of fifty requests shows 12,000 characters, few of them different: half the page's time
def _shown(char: str) -> str:
    if not is_shapeless(char):
        return escape(char)
    code = f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
    return f'<span class="shapeless">{code}</span>'
