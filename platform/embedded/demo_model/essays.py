"""Long texts to order: an outline, and its sections one by one, with a sentence for every few words asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count, islice

from embedded.demo_model.schemas import JSONObject

OUTLINE = "Outline"

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_TOPIC = re.compile(r"^(?:Write about|Topic): (?P<topic>.{1,400})$", re.MULTILINE)
_SECTIONS = re.compile(r"\b(?P<count>\d{1,2}) sections\b")
_SECTION = re.compile(
    r'^Write the section "(?P<title>[^"\n]{1,300})" of "(?P<topic>[^"\n]{1,2000})"', re.MULTILINE
)
_WORDS = re.compile(r"\babout (?P<words>\d{1,6}) words\b")

_TITLES = (
    "Where it began",
    "How it works",
    "Who it is for",
    "What it costs",
    "What people say",
    "What comes next",
)
_TITLES_ZH = ("起源", "如何运作", "为谁而设", "代价几何", "众人的看法", "未来")
_SENTENCES = (
    "{topic} did not begin with a plan, but with somebody who looked twice.",
    "Under the heading of {title} most people think of one thing first, and of the rest much later.",
    "What matters here can be said plainly: small steps, done in order, and checked.",
    "There is an exception to every rule, and it is worth knowing before it is needed.",
    "Whoever tries it once tends to try it again, a little differently.",
    "The details are less important than the habit of asking for them.",
    "An example says more: a teacher, a kitchen table, and an afternoon without a clock.",
    "So far nobody has found a shortcut that was not longer in the end.",
)
_SENTENCES_ZH = (
    "{topic}并不是从计划开始的，而是从一个多看了一眼的人开始的。",
    "说到“{title}”，多数人先想到一件事，其余的要很久以后才想到。",
    "这里要紧的事可以说得很明白：步子要小，次序要对，每一步都要检查。",
    "凡事都有例外，最好在用到之前就知道。",
    "试过一次的人，往往会换个方式再试一次。",
    "至今没有人找到一条到头来不更远的捷径。",
)


def outline(text: str) -> JSONObject:
    found = _TOPIC.search(text)
    topic = found["topic"].strip() if found else " ".join(text.split())[:80]
    wanted = _SECTIONS.search(text)
    titles = _TITLES_ZH if _CHINESE.search(topic) else _TITLES
    sections = titles[: max(2, min(int(wanted["count"]) if wanted else 3, len(titles)))]
    return {"title": topic[:1].upper() + topic[1:], "sections": list(sections)}


def section(text: str) -> str | None:
    """A section of about the length that was asked for; None when none was."""
    found = _SECTION.search(text)
    if found is None:
        return None
    is_chinese = bool(_CHINESE.search(found["topic"]))
    wanted = _WORDS.search(text)
    words = min(int(wanted["words"]) if wanted else 120, 5000)
    each = 30 if is_chinese else 14
    sentences = islice(_endless(found["title"], found["topic"], is_chinese=is_chinese), max(1, words // each))
    return ("" if is_chinese else " ").join(sentences)


def _endless(title: str, topic: str, *, is_chinese: bool) -> Iterator[str]:
    known = _SENTENCES_ZH if is_chinese else _SENTENCES
    for at in count():
        yield known[at % len(known)].format(title=title, topic=topic)
