"""What the demo model writes to order: tools that have to be called, outlines and sections."""

from __future__ import annotations

from typing import Any

import pytest
from embedded.demo_model import essays, extracts
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from openai import BadRequestError

from tests.support.demo import DemoModel
from tests.support.demo_chat import SIGNATURE, chat_model

TEXT = "Yesterday Ada Lovelace came to London. The trip was fine. The Parcel Company was late."


def tool_called(name: str) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {}}},
    }


@pytest.fixture
def model(demo: DemoModel) -> ChatOpenAI:
    return chat_model(demo)


def forced(model: ChatOpenAI, name: str, text: str) -> AIMessage:
    choice = {"type": "function", "function": {"name": name}}
    answer = model.bind(tools=[tool_called(name)], tool_choice=choice).invoke(text)
    assert isinstance(answer, AIMessage)
    return answer


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("Sentiment", {"sentiment": "mixed", "confidence": 0.7}),
        ("Summary", {"summary": "Yesterday Ada Lovelace came to London. The trip was fine."}),
        (
            "Entities",
            {
                "entities": [
                    {"name": "Ada Lovelace", "kind": "other"},
                    {"name": "London", "kind": "other"},
                    {"name": "Parcel Company", "kind": "organisation"},
                ]
            },
        ),
    ],
)
def test_a_tool_that_has_to_be_called_is_called(model: ChatOpenAI, tool: str, expected: Any) -> None:
    answer = forced(model, tool, TEXT)

    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [(tool, expected)]
    assert answer.text == ""


def test_an_outline_has_the_sections_that_were_asked_for(model: ChatOpenAI) -> None:
    english = forced(model, "Outline", "Write about: the bee\nMake 4 sections.").tool_calls[0]["args"]
    chinese = forced(model, "Outline", "Write about: 蜜蜂\nMake 99 sections.").tool_calls[0]["args"]

    assert (english["title"], len(english["sections"])) == ("The bee", 4)
    assert (chinese["title"], chinese["sections"][0], len(chinese["sections"])) == ("蜜蜂", "起源", 6)


@pytest.mark.parametrize("words", [30, 400])
def test_a_section_is_about_as_long_as_was_asked_for(model: ChatOpenAI, words: int) -> None:
    text = str(model.invoke(f'Write the section "Hives" of "Bees" in about {words} words.').text)

    assert words * 0.5 <= len(text.split()) <= words * 1.4
    assert SIGNATURE not in text


def test_another_tool_that_has_to_be_called_is_left_to_the_script(model: ChatOpenAI) -> None:
    answer = forced(model, "look_up_order", "Where is order 1042?")

    assert [call["args"] for call in answer.tool_calls] == [{"order_number": 1042}]


def test_a_tool_that_is_not_offered_can_t_be_forced(model: ChatOpenAI) -> None:
    choice = {"type": "function", "function": {"name": "other"}}

    with pytest.raises(BadRequestError, match="tool_choice"):
        model.bind(tools=[tool_called("Topic")], tool_choice=choice).invoke(TEXT)


@pytest.mark.parametrize("text", ["", "…", "12", "\n\n", "好"])
def test_there_is_something_to_say_of_every_text(text: str) -> None:
    assert all(tool(text) for tool in extracts.TOOLS.values())
    assert extracts.topic(text)["topic"]
    assert extracts.summary(text)["summary"]
    assert len(essays.outline(text)["sections"]) >= 2
    assert essays.section(text) is None
