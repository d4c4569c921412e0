"""What a model writes is never more than text on our pages."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

from apps.chat.markdown import _cleaner, render
from tests.support.threads import together


def test_it_makes_no_element_of_a_template_s_words() -> None:
    assert "{{ settings.SECRET_KEY }}" in render("{{ settings.SECRET_KEY }}")


def test_it_marks_links_as_not_ours() -> None:
    assert 'rel="nofollow noopener noreferrer"' in render("[docs](https://example.com)")


def test_it_keeps_what_answers_are_made_of() -> None:
    html = render(
        "# Title\n\n**bold** *em* ~~gone~~ `code`\n\n- one\n\n1. two\n\n> said\n\n| a | b |\n|---|--:|\n| 1 | 2 |"
    )

    for tag in ("h1", "strong", "em", "s", "code", "ul", "ol", "blockquote", "table"):
        assert f"<{tag}" in html
    assert '<td align="right">2</td>' in html


def test_it_colours_code_by_class_and_without_style() -> None:
    html = render("```python\ndef f():\n    return 'x'\n```")

    assert '<span class="k">def</span>' in html
    assert "style" not in html


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_many_at_once_colour_their_first_code_alike(busy_threads: None) -> None:
    code = "```python\nrefund(f\"A-{1042:>6}\", '10 €', b'x', reason=\"late\")\n```"
    alone = render(code)

    seen = {alone}
    for _ in range(20):
        del PythonLexer._tokens  # as in a process that has not met the language
        assert not together(*[lambda: seen.add(render(code))] * 8)

    assert seen == {alone}


def test_html_is_shown_as_it_was_written() -> None:
    assert '&lt;span class="composer"&gt;' in render('<span class="composer">x</span>')


def test_the_sanitiser_alone_lets_no_class_of_ours_through() -> None:
    assert _cleaner.clean('<span class="composer kd visually-hidden">x</span>') == '<span class="kd">x</span>'
