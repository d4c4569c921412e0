"""Analyses of texts as programs send and get them: a model each."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from apps.chat.api.schemas import LONGEST_WAIT, SESSION_ID, Body, Failure, Usage

MOST_ITEMS = 50
MOST_CHARS = 400_000  # of all items together

ANALYSIS_ID = Field(description="The id of its run: also the id of a task.")

Material = Annotated[
    str, Field(description="One that can't be analysed gets a result that says why: `is_valid` is false.")
]


# Sent


class TextToAnalyse(Body):
    text: Material
    timeout: float = Field(
        30.0, ge=0, le=LONGEST_WAIT, description="Seconds to wait for the result. The run goes on after that."
    )


class BatchItem(Body):
    text: Material


class NewBatch(Body):
    items: Annotated[list[BatchItem], Field(min_length=1, max_length=MOST_ITEMS)]


# Answered


class FoundTopic(Schema):
    topic: str
    keywords: list[str]


class FoundSentiment(Schema):
    sentiment: Literal["positive", "neutral", "negative", "mixed"]
    confidence: float


class FoundEntity(Schema):
    name: str
    kind: str


class TextMetrics(Schema):
    characters: int
    words: int
    sentences: int
    paragraphs: int
    words_a_sentence: float
    distinct_words: float = Field(description="Share of the words that are not a repetition.")
    reading_seconds: int
    reading_ease: float | None = Field(description="Flesch: 0 hard to 100 easy; null where it says nothing.")


class FoundFact(Schema):
    entity: str
    text: str


class FoundBackground(Schema):
    facts: list[FoundFact]
    note: str = Field(description="Why there are none: not_set, nothing_named, away, unreadable.")


class StepTaken(Schema):
    seconds: float
    memory_kb: int = Field(description="By which the worker grew meanwhile, whatever else it did.")


class AnalysisResult(Schema):
    is_valid: bool
    problems: list[str] = Field(description="empty, no_words, too_short.")
    topic: FoundTopic | None
    sentiment: FoundSentiment | None
    entities: list[FoundEntity]
    summary: str
    metrics: TextMetrics | None
    background: FoundBackground | None
    fallbacks: dict[str, str] = Field(description="What was found without the model, and why: other, late.")
    steps: dict[str, StepTaken]
    seconds: float


RunState = Literal["pending", "running", "interrupted", "success", "error", "timeout", "cancelled"]


class AnalysisOutcome(Schema):
    """What an analysis has come to so far."""

    analysis_id: UUID = ANALYSIS_ID
    session_id: UUID = SESSION_ID
    status: RunState
    result: AnalysisResult | None
    report: str | None = Field(description="The same for people, in Markdown.")
    error: Failure | None
    usage: Usage


class BatchItemOutcome(Schema):
    position: int = Field(description="In `items`, from 0.")
    analysis_id: UUID = ANALYSIS_ID
    status: RunState
    result: AnalysisResult | None
    error: Failure | None = Field(description="Of this item: the others are not touched by it.")


class BatchTotals(Schema):
    items: int
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    valid: int = Field(description="Of those that succeeded, the texts that could be analysed.")
    words: int
    sentiments: dict[str, int]
    input_tokens: int
    output_tokens: int


class BatchAverages(Schema):
    """Over the valid texts that have a result; null where there is none."""

    words: float | None
    sentences: float | None
    reading_ease: float | None
    seconds: float | None


class BatchOutcome(Schema):
    batch_id: UUID
    status: Literal["pending", "running", "done", "cancelled"] = Field(
        description="done: each item has ended. cancelled: so it has, and some because the batch was cancelled."
    )
    fraction: float = Field(description="Share of the items that have ended.")
    totals: BatchTotals
    averages: BatchAverages
    items: list[BatchItemOutcome]
