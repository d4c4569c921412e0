"""Words and sentences of texts in any script."""

from __future__ import annotations

import re

CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['’-][^\W_]+)*"
)
SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")


def words_of(text: str) -> list[str]:
    """Of Chinese and Japanese each character counts as one."""
    return WORD.findall(text)


def sentences_of(text: str) -> list[str]:
    return [each.strip() for each in SENTENCE.findall(text) if WORD.search(each)]


def is_chinese(text: str) -> bool:
    return len(CJK.findall(text)) * 2 > len(words_of(text))


def language_of(text: str) -> str:
    """Of the two that the product speaks."""
    return "zh-hans" if is_chinese(text) else "en"


def cut(text: str, most: int) -> str:
    """The sentences that fit into `most` words; at least the first."""
    words, end = 0, 0
    for sentence in SENTENCE.finditer(text):
        words += len(words_of(sentence[0]))
        if words > most and end:
            break
        end = sentence.end()
    return text[:end].strip()
