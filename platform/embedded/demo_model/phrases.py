"""Every sentence of the demo model, in English and in Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedded.demo_model import stories

_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Templates for str.format; a `what_…` is the noun phrase that other sentences are about."""

    help: str
    long_answer: str
    #: The last line of every final answer.
    signature: str
    too_many_rounds: str
    not_offered: str

    rejected: str
    no_reason: str
    failed: str
    answered: str

    which_order: str
    what_look_up: str
    order: str

    what_refund: str
    what_is_left: str
    default_reason: str
    refund_plan: str
    refund_ask: str
    refund_done: str
    refund_edited: str
    refund_given_up: str
    refund_needs_amount: str
    refund_nothing_left: str

    email_needs_address: str
    what_email: str
    email_done: str
    what_calculation: str
    calculation_done: str
    what_time: str
    time_done: str
    what_direct: str
    direct_done: str


ENGLISH = Phrases(
    help="""\
Hello! I am the demo model of Countersign: a small program with scripted answers, so that you can try \
everything without a key. I know these phrases:

- `Where is order 1042?`
- `Refund order 1042` or `Refund 20 of order 1042 because it broke`
- `Refund orders 1042 and 1043`
- `E-mail bob@example.com that order 1042 is late`
- `What is 12*7+3` and `What time is it`
- `Tell me a long story`
- `call look_up_order with {"order_number": 1042}`, and so on for every tool an assistant has

To talk to a real model, set `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_MODEL` in the environment, \
then start with `make run`.""",
    long_answer=stories.ENGLISH,
    signature="*This was the demo model.*",
    too_many_rounds="I have called tools too often for one question, so I stop here.",
    not_offered="I would need the tool `{tool}` for that, and this assistant does not offer it.",
    rejected="{who} rejected {what}: “{reason}”. It was not carried out, and I will not try again on my own.",
    no_reason="no reason given",
    failed="I could not complete {what}. The tool says: {text}",
    answered="A person answered in place of {what}: “{answer}”",
    which_order="Which order? Tell me its number, for example: `Refund order 1042`.",
    what_look_up="the look-up of order {number}",
    order="This is what I found for order {number}:\n\n{fields}",
    what_refund="the refund of {amount} for order {number}",
    what_is_left="what was paid",
    default_reason="Asked for in the chat",
    refund_plan=(
        "I am going to refund {amount} for order {number}. Reason: {reason}. "
        "First I look the order up, so that nobody approves more than was paid."
    ),
    refund_ask=(
        "Order {number} is {status}; {total} was paid and {refunded} refunded so far. "
        "I now ask to refund {amount}. Reason: {reason}."
    ),
    refund_done="Done: {refunded} was refunded for order {number}. The refund's number is {refund_id}.",
    refund_edited=(
        "Done, with a change by a person: I asked for {asked}, and {refunded} was refunded "
        "for order {number}. The refund's number is {refund_id}."
    ),
    refund_given_up="So I did not ask for a refund.",
    refund_needs_amount=(
        "I can't look up order {number} here. Tell me the amount, for example: `Refund 20 of order {number}`."
    ),
    refund_nothing_left="Nothing is left to refund for order {number}, so I did not ask for it.",
    email_needs_address=(
        "To whom? Give me the address, for example: `E-mail bob@example.com that the order is late`."
    ),
    what_email="the e-mail to {to}",
    email_done="About the e-mail to {to}: {result}",
    what_calculation="the calculation",
    calculation_done="{expression} = {result}",
    what_time="the question for the time",
    time_done="The time in {time_zone}: {result}",
    what_direct="the call of `{tool}`",
    direct_done="`{tool}` says: {result}",
)

CHINESE = Phrases(
    help="""\
你好！我是 Countersign 的演示模型：一个按脚本回答的小程序，让您不用密钥就能试用全部功能。我认识这些说法：

- `查询订单 1042`
- `退款订单 1042`，或者 `订单 1042 退款 20 元，因为坏了`
- `退款订单 1042 和 1043`
- `发邮件给 bob@example.com 说订单晚了`
- `计算 12*7+3`，`现在几点`
- `长文`
- `call look_up_order with {"order_number": 1042}`，助手的每个工具都可以这样调用

要使用真正的模型，请设置环境变量 `OPENAI_BASE_URL`、`OPENAI_API_KEY` 和 `OPENAI_MODEL`，\
然后运行 `make run`。""",
    long_answer=stories.CHINESE,
    signature="*以上来自演示模型。*",
    too_many_rounds="为一个问题调用工具的次数太多了，我到此为止。",
    not_offered="这需要工具 `{tool}`，但是这个助手没有提供它。",
    rejected="{who} 拒绝了{what}：“{reason}”。该操作没有执行，我不会自行重试。",
    no_reason="没有说明理由",
    failed="我没能完成{what}。工具的回答是：{text}",
    answered="有人代替{what}作了回答：“{answer}”",
    which_order="是哪个订单？请告诉我订单号，例如：`退款订单 1042`。",
    what_look_up="订单 {number} 的查询",
    order="订单 {number} 的查询结果：\n\n{fields}",
    what_refund="订单 {number} 的 {amount} 退款",
    what_is_left="已支付的款项",
    default_reason="用户在聊天中提出",
    refund_plan="我准备为订单 {number} 退还 {amount}，理由：{reason}。我先查询订单，以免退款超过实付金额。",
    refund_ask=(
        "订单 {number} 的状态是 {status}，实付 {total}，已退 {refunded}。"
        "我现在申请退款 {amount}，理由：{reason}。"
    ),
    refund_done="完成：订单 {number} 已退款 {refunded}，退款编号 {refund_id}。",
    refund_edited=(
        "完成，但有人作了修改：我申请退款 {asked}，订单 {number} 实际退款 {refunded}，退款编号 {refund_id}。"
    ),
    refund_given_up="因此我没有申请退款。",
    refund_needs_amount="我在这里无法查询订单 {number}。请告诉我金额，例如：`订单 {number} 退款 20 元`。",
    refund_nothing_left="订单 {number} 没有可退的款项，因此我没有申请退款。",
    email_needs_address="发给谁？请给我邮箱地址，例如：`发邮件给 bob@example.com 说订单晚了`。",
    what_email="给 {to} 的邮件",
    email_done="给 {to} 的邮件：{result}",
    what_calculation="计算",
    calculation_done="{expression} = {result}",
    what_time="时间的查询",
    time_done="{time_zone} 的时间：{result}",
    what_direct="工具 `{tool}` 的调用",
    direct_done="`{tool}` 的回答：{result}",
)


def for_text(text: str) -> Phrases:
    """The phrases of the language that `text` is written in."""
    return CHINESE if _CHINESE.search(text) else ENGLISH
