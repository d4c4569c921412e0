"""The long answers: every kind of Markdown that a page has to show while it streams."""

from __future__ import annotations

ENGLISH = """\
# The refund that waited

Once upon a time there was a shop, and in the shop there worked a clever assistant. It could look up \
orders, write e-mails and pay money back, and it did all of this faster than anybody could read \
along. The people of the shop liked the speed. They liked it a little less on the day when it was \
about to refund **5990** instead of **59.90**.

## What the people wanted

They sat together for an afternoon and wrote down what they expected of their assistant:

1. It may *read* whatever it needs, at once and without asking.
2. It may *propose* anything, with its reasons in plain words.
3. It may *do* what matters only after somebody has countersigned it.
4. Whatever happens, it has to be possible to see later who decided what.

> A good tool asks before it cuts, and remembers who said yes.

## The four answers

When a proposal arrived, an approver could give one of four answers:

| Answer | What runs | What the assistant is told |
|---|---|---|
| approve | the call as proposed | the tool's result |
| edit | the call with other arguments | the result of the changed call |
| reject | nothing | who said no, and why |
| respond | nothing | the person's own words |

The assistant learned to live with all four. After a rejection it did not try again behind anybody's back; \
after an edit it said honestly that the amount was a different one.

## How it looked in code

```python
def refund(order_number: int, amount: Decimal) -> Receipt:
    \"\"\"Pay `amount` back, once, after a person has agreed.\"\"\"
    order = orders.get(order_number)
    if amount > order.total - order.refunded:
        raise TooMuch(order_number, amount)
    return payments.refund(order, amount, key=f"refund-{order_number}")
```

The line with the `key` was short, but everybody was fond of it: with the same key the payment was made \
once, however often the lights went out in between.

## How it ended

- The customer got 59.90 back on the same day.
- The approver needed eleven seconds and one click.
- The machine was switched off in the middle of it all, as machines sometimes are; it came back, read its \
notes and went on where it had stopped.

And if nobody has unplugged it, it is still waiting politely for somebody to say yes.
"""

CHINESE = """\
# 等待签字的退款

从前有一家商店，店里有一位聪明的助手。它会查订单、写邮件、退款，快得谁都来不及看清。店里的人喜欢它的速度，\
直到有一天，它差一点把 **59.90** 退成了 **5990**。

## 大家的要求

大家坐下来讨论了一个下午，写下了对助手的期望：

1. 需要的资料，它可以*直接读取*。
2. 任何操作，它都可以*提议*，但要用明白的话说出理由。
3. 重要的操作，必须有人签字之后才能*执行*。
4. 无论发生什么，事后都要能查到是谁作了决定。

> 好的工具在动手之前先问一声，并且记得是谁点了头。

## 四种回答

| 回答 | 执行什么 | 助手得到什么 |
|---|---|---|
| 批准 | 原来的调用 | 工具的结果 |
| 修改 | 参数改过的调用 | 修改后的结果 |
| 拒绝 | 什么都不执行 | 谁拒绝了，为什么 |
| 答复 | 什么都不执行 | 那个人自己的话 |

助手学会了面对这四种回答：被拒绝以后，它不会背着人再试一次；金额被改过以后，它会如实说明。

## 写成代码

```python
def refund(order_number: int, amount: Decimal) -> Receipt:
    \"\"\"经人同意之后退款，而且只退一次。\"\"\"
    order = orders.get(order_number)
    if amount > order.total - order.refunded:
        raise TooMuch(order_number, amount)
    return payments.refund(order, amount, key=f"refund-{order_number}")
```

带 `key` 的那一行很短，但是人人都喜欢它：只要 `key` 相同，无论中途断电多少次，钱只会退一次。

## 结局

- 顾客当天就收到了 59.90 的退款。
- 审批人只用了十一秒，点了一下鼠标。
- 中途机器断过一次电，机器总会有这样的时候；它重新启动，读了自己的记录，从停下的地方继续做完。

如果没有人拔掉插头，它现在还在礼貌地等着有人说“可以”。
"""
