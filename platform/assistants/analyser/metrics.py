"""What can be counted in a text, and the findings that stand in where the model wrote something else."""

from __future__ import annotations

import re
from collections import Counter

from assistants.analyser.shapes import Entities, Entity, Metrics, Sentiment, Summary, Topic
from assistants.words import CJK, sentences_of, words_of

VOWELS = re.compile(r"[aeiouyäöüéèêàáíóúâîôûå]+")
NAME = re.compile(r"\b[A-Z][\w’'-]+(?: [A-Z][\w’'-]+){0,3}")

WORDS_A_MINUTE = 230
LEAST_WORDS = 3
KEYWORDS = 5


def problems(text: str) -> list[str]:
    """Codes of what keeps a text from being analysed: `empty`, `no_words`, `too_short`."""
    if not text.strip():
        return ["empty"]
    words = words_of(text)
    if not any(word[0].isalpha() for word in words):
        return ["no_words"]
    return ["too_short"] if len(words) < LEAST_WORDS else []


def counts(text: str) -> dict[str, int | float]:
    words, sentences = words_of(text), sentences_of(text)
    return {
        "characters": len(text),
        "words": len(words),
        "sentences": len(sentences),
        "paragraphs": sum(bool(block.strip()) for block in re.split(r"\n[ \t]*\n", text)),
        "words_a_sentence": round(len(words) / max(1, len(sentences)), 1),
        "reading_seconds": round(len(words) * 60 / WORDS_A_MINUTE),
    }


def variety(text: str) -> dict[str, float]:
    words = [word.casefold() for word in words_of(text)]
    return {"distinct_words": round(len(set(words)) / max(1, len(words)), 2)}


def readability(text: str) -> dict[str, float | None]:
    """Flesch's reading ease (R. Flesch, 1948), kept within its scale."""
    words, sentences = words_of(text), sentences_of(text)
    if not words or CJK.search(text) or not all(word[0].isascii() or word[0].islower() for word in words):
        return {"reading_ease": None}
    syllables = sum(max(1, len(VOWELS.findall(word.lower()))) for word in words)
    ease = 206.835 - 1.015 * len(words) / max(1, len(sentences)) - 84.6 * syllables / len(words)
    return {"reading_ease": round(min(100.0, max(0.0, ease)), 1)}


def measured(*parts: dict[str, int | float] | dict[str, float] | dict[str, float | None]) -> Metrics:
    return Metrics.model_validate({name: value for part in parts for name, value in part.items()})


# Without the model: what anybody can see of the text, and no more


def plain_topic(text: str) -> Topic:
    frequent = _frequent(text)
    first = sentences_of(text)[0]
    return Topic(topic=", ".join(frequent[:3])[:300] or first[:80], keywords=frequent)


def plain_sentiment(text: str) -> Sentiment:
    return Sentiment(sentiment="neutral", confidence=0)


def plain_entities(text: str) -> Entities:
    """What is written with capitals inside of a sentence."""
    found = [name for each in sentences_of(text) for name in NAME.findall(each.partition(" ")[2])]
    return Entities(entities=[Entity(name=name[:300]) for name in dict.fromkeys(found)][:50])


def plain_summary(text: str) -> Summary:
    return Summary(summary=" ".join(sentences_of(text)[:2])[:2000])


def _frequent(text: str) -> list[str]:
    long = [word[:300] for word in words_of(text.casefold()) if len(word) > 4]
    return [word for word, _ in Counter(long).most_common(KEYWORDS)]
