"""The one sanitiser: an assistant's Markdown as HTML that can do nothing but be read."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from threading import Lock

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters.html import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

HIGHLIGHT_LIMIT = 20_000  # characters; longer code is shown plain

# No images: fetching one would tell whoever wrote its address what the model was made to put into it.
TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "span": {"class"}, "td": {"align"}, "th": {"align"}}
SCHEMES = {"http", "https", "mailto"}

_formatter = HtmlFormatter(nowrap=True)

# Pygments builds a language's rules at their first use, which two threads at once spoil for the whole process.
_highlighting = Lock()


def _highlighted(code: str, language: str, _attributes: str) -> str:
    """`code` with Pygments' classes; escaped only when its language is unknown or it is very long."""
    if not language or len(code) > HIGHLIGHT_LIMIT:
        return escape(code)
    with _highlighting:
        try:
            return str(highlight(code, get_lexer_by_name(language), _formatter))
        except ClassNotFound:
            return escape(code)


_parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable(
    ["table", "strikethrough"]
)
_cleaner = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    url_schemes=SCHEMES,
    link_rel="nofollow noopener noreferrer",
    attribute_filter=lambda tag, name, value: _plain_classes(value) if name == "class" else value,
)


def _plain_classes(value: str) -> str | None:
    """Pygments' classes are one or two letters and a digit; anything longer could dress up as our own page."""
    classes = [name for name in value.split() if len(name) <= 3]
    return " ".join(classes) or None


def _align(tokens: Iterable[Token]) -> None:
    """Cells say how they are aligned without a style, which our pages forbid."""
    for token in tokens:
        if token.type in ("td_open", "th_open") and "style" in token.attrs:
            token.attrs = {"align": str(token.attrs["style"]).removeprefix("text-align:")}


def render(text: str) -> SafeString:
    """HTML of untrusted Markdown."""
    tokens = _parser.parse(text)
    _align(tokens)
    html = _parser.renderer.render(tokens, _parser.options, {})
    return mark_safe(_cleaner.clean(html))  # noqa: S308  (nh3 has cleaned it)
