from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.approvals import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 价格 é", "plain text, 价格 é"),
        ("two\r\nlines", "two\nlines"),
        ("\u202egnp.exe", '<span class="shapeless">\\u202e</span>gnp.exe'),
        ("a\u200bb", 'a<span class="shapeless">\\u200b</span>b'),
        ("a\u00a0b", 'a<span class="shapeless">\\u00a0</span>b'),
        ("\x1b[31m", '<span class="shapeless">\\u001b</span>[31m'),
        ("\U000e0041", '<span class="shapeless">\\U000e0041</span>'),
        ("\u3164", '<span class="shapeless">\\u3164</span>'),
        ("<b>&", "&lt;b&gt;&amp;"),
    ],
)
def test_it_shows_what_can_not_be_seen(text, shown):
    assert visible.visible(text) == shown


def test_a_text_and_a_number_look_different():
    assert visible.value("1") == "&quot;1&quot;"
    assert visible.value(1) == "1"


@given(st.text())
def test_nothing_unseen_and_no_markup_is_left(text):
    shown = str(visible.visible(text))
    bare = re.sub(r'<span class="shapeless">\\[uU][0-9a-f]{4,8}</span>', "", shown)

    assert not any(visible.is_shapeless(char) for char in bare)
    assert "<" not in bare
    kept = "".join(char for char in text.replace("\r\n", "\n") if not visible.is_shapeless(char))
    assert html.unescape(bare) == kept
