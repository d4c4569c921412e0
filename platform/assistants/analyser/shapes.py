"""What a model is asked to say of a text, and what an analysis is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Share = Annotated[float, Field(ge=0, le=1)]


class Topic(BaseModel):
    """What the text is about."""

    topic: ShortText = Field(description="The subject, in a few words, in the language of the text")
    keywords: list[ShortText] = Field(default_factory=list, max_length=12, description="Most telling first")


class Sentiment(BaseModel):
    """The mood of the text."""

    sentiment: Literal["positive", "neutral", "negative", "mixed"]
    confidence: Share = Field(description="0 for a guess, 1 for certain")


class Entity(BaseModel):
    name: ShortText = Field(description="As the text writes it")
    kind: Literal["person", "organisation", "place", "product", "event", "date", "other"] = "other"


class Entities(BaseModel):
    """Who and what is named in the text."""

    entities: list[Entity] = Field(default_factory=list, max_length=50)


class Summary(BaseModel):
    """The text in short."""

    summary: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)] = Field(
        description="At most three sentences, in the language of the text"
    )


class Metrics(BaseModel):
    """What can be counted."""

    characters: int
    words: int
    """Of Chinese and Japanese each character counts as one."""
    sentences: int
    paragraphs: int
    words_a_sentence: float
    distinct_words: float
    """Share of the words that are not a repetition."""
    reading_seconds: int
    reading_ease: float | None
    """Flesch: 0 hard to 100 easy. None where the text is not in the Latin script."""


class Fact(BaseModel):
    entity: ShortText
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class Background(BaseModel):
    """What the service for background says of the entities."""

    facts: list[Fact] = Field(default_factory=list, max_length=50)
    note: str = ""
    """Why there are none."""


class Step(BaseModel):
    """What one node took."""

    seconds: float
    memory_kb: int
    """By which the worker's memory grew meanwhile: what else it does at that time is in it."""


class Analysis(BaseModel):
    """All of it. Of a text that can't be analysed only `problems` and `steps`."""

    is_valid: bool
    problems: list[str] = Field(default_factory=list)
    topic: Topic | None = None
    sentiment: Sentiment | None = None
    entities: list[Entity] = Field(default_factory=list)
    summary: str = ""
    metrics: Metrics | None = None
    background: Background | None = None
    fallbacks: dict[str, str] = Field(default_factory=dict)
    """{what was found without the model: why}."""
    steps: dict[str, Step] = Field(default_factory=dict)
    seconds: float = 0
