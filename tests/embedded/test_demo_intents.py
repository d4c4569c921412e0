"""What the demo model makes of what people say, in both languages."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from typing import Any

import pytest
from embedded.demo_model import phrases, reading, stories
from embedded.demo_model.completions import tokens
from hypothesis import given
from hypothesis import strategies as st

from tests.support.demo import DemoModel
from tests.support.demo_chat import (
    ORDER,
    SIGNATURE,
    Chat,
    calls,
    chat_model,
    order,
    receipt,
    schema,
)


class TestIntents:
    @pytest.mark.parametrize("text", ["hello", "What can you do?", "", "xyzzy", "How are you, model?"])
    def test_it_introduces_itself(self, chat: Chat, text: str) -> None:
        answer = chat.say(text).text
        assert "demo model of Countersign" in answer
        assert all(
            name in answer for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "make run")
        )

    def test_it_looks_an_order_up(self, chat: Chat) -> None:
        assert calls(chat.say("Where is order 1042?")) == [("look_up_order", {"order_number": 1042})]
        answer = chat.give(order(1042)).text
        assert all(word in answer for word in ("1042", "Ada Lovelace", "delivered", "59.90", "Teapot"))
        assert answer.endswith(SIGNATURE)

    def test_it_passes_on_that_there_is_no_such_order(self, chat: Chat) -> None:
        chat.say("look up order 9")
        assert "no order 9" in chat.give("Error: no order 9").text

    def test_it_refunds_what_was_paid(self, chat: Chat) -> None:
        first = chat.say("Refund order 1042")
        assert calls(first) == [("look_up_order", {"order_number": 1042})]
        assert "I am going to refund" in first.text
        second = chat.give(order(1042))
        wanted = {"order_number": 1042, "amount": "59.90", "reason": "Asked for in the chat"}
        assert calls(second) == [("refund_order", wanted)]
        assert "59.90 EUR" in second.text
        answer = chat.give(receipt(1042, "59.90"))
        assert "Done: 59.90 EUR" in answer.text
        assert "R-7" in answer.text
        assert answer.response_metadata["finish_reason"] == "stop"

    def test_it_refunds_the_amount_asked_for_with_the_reason(self, chat: Chat) -> None:
        chat.say("Refund 20 of order 1042 because it broke")
        wanted = {"order_number": 1042, "amount": "20.00", "reason": "it broke"}
        assert calls(chat.give(order(1042))) == [("refund_order", wanted)]

    @pytest.mark.parametrize(
        ("result", "told"),
        [
            ("Rejected by bob: too much", "bob rejected the refund of 59.90 EUR for order 1042: “too much”"),
            ("Rejected by bob: ", "no reason given"),
            ("Error: the bank is closed", "could not complete the refund"),
            ("Denied: no rule allows it", "no rule allows it"),
            ("I paid her in cash.", "A person answered in place of the refund"),
            (receipt(1042, "30.00"), "I asked for 59.90 EUR, and 30.00 EUR was refunded"),
            (receipt(1043, "59.90"), "for order 1043"),
        ],
    )
    def test_it_follows_what_became_of_the_refund(self, chat: Chat, result: str, told: str) -> None:
        chat.say("Refund order 1042")
        chat.give(order(1042))
        answer = chat.give(result)
        assert told in answer.text
        assert answer.tool_calls == []

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            ("Error: no order 1042", "did not ask for a refund"),
            ("Rejected by bob: private", "did not ask for a refund"),
            ("ask me tomorrow", "did not ask for a refund"),
            (json.dumps({**ORDER, "refunded": "59.90"}), "Nothing is left"),
        ],
    )
    def test_it_does_not_refund_an_order_it_cannot_see(self, chat: Chat, found: str, told: str) -> None:
        chat.say("Refund order 1042")
        answer = chat.give(found)
        assert answer.tool_calls == []
        assert told in answer.text

    def test_it_refunds_two_orders_in_one_message(self, chat: Chat) -> None:
        assert len(chat.say("refund orders 1042 and 1043").tool_calls) == 2
        asked = calls(chat.give({"1042": order(1042), "1043": order(1043)}))
        assert [(name, args["order_number"]) for name, args in asked] == [
            ("refund_order", 1042),
            ("refund_order", 1043),
        ]
        answer = chat.give({"1042": receipt(1042, "59.90"), "1043": "Rejected by bob: no"}).text
        assert "Done: 59.90 EUR" in answer
        assert "bob rejected" in answer

    def test_it_refunds_only_the_order_that_was_found(self, chat: Chat) -> None:
        chat.say("refund orders 1042 and 1043")
        asked = chat.give({"1042": "Error: no order 1042", "1043": order(1043)})
        assert [args["order_number"] for _, args in calls(asked)] == [1043]
        answer = chat.give(receipt(1043, "59.90")).text
        assert "no order 1042" in answer
        assert "for order 1043" in answer

    def test_it_sends_an_email(self, chat: Chat) -> None:
        wanted = {"to": "bob@example.com", "subject": "The order is late", "body": "The order is late."}
        assert calls(chat.say("E-mail bob@example.com that the order is late")) == [("send_email", wanted)]
        assert "Sent." in chat.give("Sent.").text

    def test_it_calculates_and_tells_the_time(self, chat: Chat) -> None:
        assert calls(chat.say("what is 12*7+3")) == [("calculator", {"expression": "12*7+3"})]
        assert "12*7+3 = 87" in chat.give("87").text
        assert calls(chat.say("What time is it?")) == [("current_time", {"time_zone": "UTC"})]
        assert "10:15" in chat.give("10:15").text

    def test_it_calls_two_tools_at_once(self, chat: Chat) -> None:
        asked = calls(chat.say("look up order 1042 and calculate 3*7"))
        assert asked == [("look_up_order", {"order_number": 1042}), ("calculator", {"expression": "3*7"})]

    def test_it_calls_any_tool_word_for_word(self, chat: Chat) -> None:
        assert calls(chat.say('call pay with {"amount": 100}')) == [("pay", {"amount": 100})]
        assert "`pay` says: paid" in chat.give("paid").text

    def test_it_tells_a_long_story_in_markdown(self, chat: Chat) -> None:
        answer = chat.say("tell me a long story")
        assert all(mark in answer.text for mark in ("\n## ", "\n1. ", "\n- ", "|---|", "```python\n"))
        assert 400 <= (answer.usage_metadata or {"output_tokens": 0})["output_tokens"] <= 600

    def test_it_calls_no_tool_that_is_not_offered(self, demo: DemoModel) -> None:
        bare = Chat(chat_model(demo), [])
        assert "`look_up_order`" in bare.say("Where is order 1042?").text
        assert "`refund_order`" in bare.say("Refund 20 of order 1042").text

    def test_it_refunds_without_look_up_when_the_amount_is_given(self, demo: DemoModel) -> None:
        chat = Chat(chat_model(demo).bind_tools([schema("refund_order")]), [])
        assert "Tell me the amount" in chat.say("Refund order 1042").text
        assert calls(chat.say("Refund 20 of order 1042"))[0][0] == "refund_order"
        assert "Done: 20.00 EUR" in chat.give(receipt(1042, "20.00")).text

    def test_it_looks_at_the_last_human_message_only(self, chat: Chat) -> None:
        chat.say("Where is order 1042?")
        chat.give(order(1042))
        assert calls(chat.say("Where is order 1043?")) == [("look_up_order", {"order_number": 1043})]

    def test_it_stops_when_a_platform_renames_its_calls(self, chat: Chat) -> None:
        asked = chat.say("Where is order 1042?")
        for _ in range(30):
            if not asked.tool_calls:
                break
            chat.messages[-1] = asked.model_copy(
                update={"tool_calls": [{**call, "name": "pay"} for call in asked.tool_calls]}
            )
            asked = chat.give("paid")
        assert "too often" in asked.text


class TestChinese:
    def test_it_refunds(self, chat: Chat) -> None:
        assert "退还" in chat.say("订单1042退款20元，因为坏了").text
        wanted = {"order_number": 1042, "amount": "20.00", "reason": "坏了"}
        assert calls(chat.give(order(1042))) == [("refund_order", wanted)]
        answer = chat.give("Rejected by bob: 太多").text
        assert "bob 拒绝了" in answer
        assert answer.endswith(phrases.CHINESE.signature)

    @pytest.mark.parametrize(
        ("text", "tool", "arguments"),
        [
            ("退款订单1042", "look_up_order", {"order_number": 1042}),
            ("查询订单 1042", "look_up_order", {"order_number": 1042}),
            ("计算 12*7+3", "calculator", {"expression": "12*7+3"}),
            ("现在几点？", "current_time", {"time_zone": "UTC"}),
            (
                "发邮件给 bob@example.com 说订单晚了",
                "send_email",
                {"to": "bob@example.com", "subject": "订单晚了", "body": "订单晚了。"},
            ),
        ],
    )
    def test_it_calls_tools(self, chat: Chat, text: str, tool: str, arguments: dict[str, Any]) -> None:
        assert calls(chat.say(text)) == [(tool, arguments)]

    def test_it_introduces_itself_and_tells_a_story(self, chat: Chat) -> None:
        assert "演示模型" in chat.say("你好").text
        assert chat.say("长文").text.startswith(stories.CHINESE[:20])


class TestReading:
    @given(
        st.text(max_size=200)
        | st.lists(
            st.sampled_from(
                [
                    "refund",
                    "order",
                    "1042",
                    " ",
                    "and",
                    "20",
                    "because",
                    "e-mail",
                    "call",
                    "pay",
                    "with",
                    "{",
                    "退款",
                    ",",
                ]
            ),
            max_size=12,
        ).map(" ".join)
    )
    def test_it_reads_anything(self, text: str) -> None:
        assert reading.read(text)
        assert "".join(tokens(text)) == text

    @pytest.mark.parametrize(
        "piece", [" ", "a", "1", "(", "1-", "1,", "order ", "email ", "call a", "a@b", "\n", "{"]
    )
    def test_it_reads_a_long_text_at_once(self, piece: str) -> None:
        text = (piece * 32_000)[:32_000]
        started = time.monotonic()
        for start in ("", "because ", "order ", "email ", "what is 1"):
            reading.read(start + text)
        assert time.monotonic() - started < 1

    def test_it_has_every_phrase_in_both_languages(self) -> None:
        for field in fields(phrases.Phrases):
            english, chinese = (getattr(said, field.name) for said in (phrases.ENGLISH, phrases.CHINESE))
            assert english != chinese or field.name == "calculation_done"
