"""What can be read out of a text by simple means: enough for an analysis without a key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from embedded.demo_model.schemas import JSONObject

LONGEST = 32_000  # characters that are looked at

_GOOD = re.compile(
    r"\b(?:good|great|love[ds]?|happy|excellent|wonderful|fine|fast|friendly|thanks?|delighted|best)\b"
    r"|好|喜欢|满意|优秀|快|感谢|棒",
    re.IGNORECASE,
)
_BAD = re.compile(
    r"\b(?:bad|poor|hate[ds]?|sad|terrible|awful|late|slow|broken?|angry|worst|disappoint\w*|never)\b"
    r"|差|坏|慢|失望|生气|糟|晚",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")
_NAME = re.compile(
    r"\b[A-Z][a-z]+(?: [A-Z][a-z]+){0,2}\b|《[^》]{1,40}》|[\u4e00-\u9fff]{2,6}(?:公司|大学|市|省)"
)
_WORD = re.compile(r"[a-z]{5,}|[\u4e00-\u9fff]{2}", re.IGNORECASE)
_ORGANISATION = re.compile(r"(?:Inc|Ltd|University|Company|Bank|公司|大学)$")


def topic(text: str) -> JSONObject:
    words = [word for word, _ in Counter(_WORD.findall(text[:LONGEST].lower())).most_common(5)]
    return {"topic": ", ".join(words[:3]) or _sentences(text)[0][:80], "keywords": words}


def sentiment(text: str) -> JSONObject:
    good, bad = len(_GOOD.findall(text)), len(_BAD.findall(text))
    if not good and not bad:
        return {"sentiment": "neutral", "confidence": 0.6}
    if good and bad and 2 * min(good, bad) >= max(good, bad):
        return {"sentiment": "mixed", "confidence": 0.7}
    return {"sentiment": "positive" if good > bad else "negative", "confidence": 0.9}


def entities(text: str) -> JSONObject:
    inside = [name for each in _sentences(text) for name in _NAME.findall(each[1:])]
    names = list(dict.fromkeys(inside))[:20]
    return {"entities": [{"name": name, "kind": _kind(name)} for name in names]}


def _kind(name: str) -> str:
    return "organisation" if _ORGANISATION.search(name) else "other"


def summary(text: str) -> JSONObject:
    return {"summary": " ".join(_sentences(text)[:2])[:600]}


def _sentences(text: str) -> list[str]:
    found = [each.strip() for each in _SENTENCE.findall(text[:LONGEST]) if each.strip()]
    return found or [text.strip()[:80] or "…"]


#: By the tool that has to be called.
TOOLS: dict[str, Callable[[str], JSONObject]] = {
    "Topic": topic,
    "Sentiment": sentiment,
    "Entities": entities,
    "Summary": summary,
}
