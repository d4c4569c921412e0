"""What the writer is asked for, and the outline it works by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_SECTIONS = 12
WORDS_A_SECTION = 250  # of an outline that the writer makes
TITLE_CHARS = 300

Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARS, pattern=r"^[^\r\n]*$")
]


class Order(BaseModel):
    """As the API's tasks send it, and as a message in the chat begins it."""

    model_config = ConfigDict(extra="ignore")  # a program's configuration may hold more

    topic: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    mode: Literal["interactive", "auto"] = "interactive"
    target_audience: str = Field("", max_length=200)
    depth_level: str = Field("", max_length=100)
    target_length: int = Field(600, ge=50, le=20_000)

    @property
    def sections(self) -> int:
        """How many suit its length."""
        return max(2, min(MOST_SECTIONS, round(self.target_length / WORDS_A_SECTION)))


class Outline(BaseModel):
    """The plan of a text: its title, and the titles of its sections in order."""

    title: Line
    sections: Annotated[list[Line], Field(min_length=1, max_length=MOST_SECTIONS)]


def answer_schema(labels: dict[str, str]) -> dict[str, Any]:
    """Of the answer to an outline. A plain yes or no will do; no is also what becomes of a question nobody answers."""
    return {
        "type": ["object", "boolean"],
        "title": labels["form"],
        "properties": {
            "go_on": {
                "type": "boolean",
                "title": labels["go_on"],
                "description": labels["go_on_help"],
                "default": True,
            },
            "title": {
                "type": "string",
                "maxLength": TITLE_CHARS,
                "pattern": r"^[^\r\n]*$",
                "title": labels["title"],
                "description": labels["as_proposed"],
            },
            "sections": {
                "type": "string",
                "maxLength": MOST_SECTIONS * TITLE_CHARS,
                "pattern": rf"^([^\r\n]*\n){{0,{MOST_SECTIONS - 1}}}[^\r\n]*$",
                "title": labels["sections"],
                "description": labels["as_proposed"],
            },
        },
        "required": ["go_on"],
        "additionalProperties": False,
    }


def confirmed(outline: Outline, answer: Any) -> Outline | None:
    """The outline as the person wants it; None where they don't want it."""
    if answer is True:
        return outline
    if not isinstance(answer, dict) or answer.get("go_on") is not True:
        return None
    lines = [line.strip()[:TITLE_CHARS] for line in str(answer.get("sections") or "").splitlines()]
    sections = [line for line in lines if line] or outline.sections
    return Outline(title=str(answer.get("title") or "").strip() or outline.title, sections=sections)
