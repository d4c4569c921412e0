"""Reads a sentence, English or Chinese, as a list of intents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from embedded.demo_model.intents import Intent, LookUp, OneCall, Refund, Tell
from embedded.demo_model.reply import Call

MAX_ORDERS = 10  # of one message; more would be a wall of approvals

_VERBS = {
    "refund": r"refund|退款|退还|退钱|退",
    "look_up": r"look(?:ing)? ?up|look for|where(?: is|'s| are)|track|find|show|check|status of"
    r"|查询|查找|查看|查|在哪",
    "calculate": r"(?:what(?: is|'s)|how much is)(?=\s?[-(]*\d)|calculate|compute|work out|计算|算一下|算",
    "time": r"what time|what(?: is|'s) the time|current time|time is it|time in\b"
    r"|几点|现在时间|当前时间|什么时间",
    "long": r"long (?:story|answer|text)|长文|长篇|长回答|(?:长|长长的)故事",
}
# Every repetition of white space is bounded: with \s* a page of blanks would hold up all other streams.
_CLAUSE = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in _VERBS.items()), re.IGNORECASE)
_DIRECT = re.compile(
    r"(?:call|run|调用)\s{0,3}`?(\w{1,64})`?\s{0,3}(?:with|using|，|:|：)?\s{0,3}(?=\{)",
    re.IGNORECASE | re.ASCII,
)
_ADDRESS = r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_EMAIL = re.compile(
    rf"(?:给\s{{0,3}}(?P<before>{_ADDRESS})\s{{0,3}})?"
    r"(?:(?:write|send)(?: an?)? (?:e-?mail|mail|message)|e-?mail|发(?:送)?(?:一封)?(?:电子)?邮件|写信)"
    rf"\s{{0,3}}(?:to|给)?\s{{0,3}}(?P<to>{_ADDRESS})?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_BODY_START = re.compile(
    r"(?:that\b|saying\b|to say\b|and say\b|内容是|内容为|内容|告诉他|说)[\s,，:：]*", re.IGNORECASE
)
_SUBJECT = re.compile(r"(?:about\b|subject\b|关于|主题)[\s:：]*(?P<subject>[^:：,，\n]+)", re.IGNORECASE)
_REASON = re.compile(
    r"(?:\bbecause\b|\bsince\b|\breason:|因为|原因是|理由是|由于)(?P<reason>.+?)"
    rf"(?=\b(?:and|then)\s{{1,3}}(?:{'|'.join(_VERBS.values())})|$)",
    re.IGNORECASE | re.DOTALL,
)
_CURRENCY = r"(?:EUR|USD|euros?|dollars?|欧元|美元|块|元|€|\$)"
_ORDER_NUMBER = rf"(?<![\d.])\d{{1,9}}(?!\d)(?![.,]\d)(?!\s?{_CURRENCY})"
_AND = r"(?:\s?(?:,|，|、|and|&|和|与|及)){1,2}\s?(?:orders?|订单)?\s?#?"
_ORDERS = re.compile(
    r"(?:orders?|订单)\s?(?:numbers?|nos?\.|号)?\s?[#:：]?\s?"
    rf"(?P<numbers>{_ORDER_NUMBER}(?:{_AND}{_ORDER_NUMBER})*)",
    re.IGNORECASE,
)
_LOOSE_ORDERS = re.compile(r"(?<![\d.])\d{4,9}(?![\d.])")
_AMOUNT = re.compile(r"(?<![\d.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d{1,2})?(?!\d)")
_EXPRESSION = re.compile(r"[-(]{0,9}\d[\d\s.+\-*/%^()×÷xX]*")
_OPERATOR = re.compile(r"\d[\s)]{0,9}[-+*/%^×÷xX]{1,3}[\s(]{0,9}\d")
_ZONE = re.compile(r"\b[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+)?\b")
_SIGNS = str.maketrans({"×": "*", "÷": "/", "x": "*", "X": "*"})
_BLANKS = " \t\r\n,，;；:：、.。"
_LINKS = ("and", "then", "然后", "并且", "并")


def read(text: str) -> list[Intent]:
    """The intents of `text`, in its order; help when it has none."""
    direct, text = _take_direct_calls(text)
    email, text = _take_email(text)
    reason, text = _take_reason(text)
    intents = [intent for kind, clause in _clauses(text) for intent in _READERS[kind](clause, reason)]
    if not intents and not email and not direct:
        intents = _without_verb(text)
    return [*direct, *_without_needless_look_ups(intents), *email] or [Tell("help")]


def _take_direct_calls(text: str) -> tuple[list[Intent], str]:
    """`call <tool> with {JSON}`: any tool, word for word, for the tools that the script does not know."""
    found: list[Intent] = []
    while match := _DIRECT.search(text):
        try:
            _, end = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            break
        tool, arguments = match[1], text[match.end() : end]
        found.append(OneCall(Call(tool, arguments), "what_direct", "direct_done", {"tool": tool}))
        text = f"{text[: match.start()]} {text[end:]}"
    return found, text


def _take_email(text: str) -> tuple[list[Intent], str]:
    """The e-mail has the rest of the sentence for itself: its words may speak of refunds and orders."""
    match = _EMAIL.search(text)
    if match is None:
        return [], text
    before = _trimmed(text[: match.start()])
    to = match["to"] or match["before"]
    if to is None:
        return [Tell("email_needs_address")], before
    subject, body = _subject_and_body(match["rest"])
    call = Call.of("send_email", to=to, subject=subject, body=body)
    return [OneCall(call, "what_email", "email_done", {"to": to})], before


def _subject_and_body(text: str) -> tuple[str, str]:
    text = text.lstrip(_BLANKS)
    named = _SUBJECT.match(text)
    subject = named["subject"].strip() if named else ""
    body = text[named.end() :] if named else text
    body = _BODY_START.sub("", body.lstrip(_BLANKS), count=1).strip() or subject or "…"
    order = _ORDERS.search(body)
    subject = subject or (f"Order {order['numbers']}" if order else " ".join(body.split()[:6]))
    return _as_sentence(subject).rstrip(".。"), _as_sentence(body)


def _as_sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    if text.endswith((".", "!", "?", "。", "！", "？", "…")):
        return text
    return f"{text}." if text.isascii() else f"{text}。"


def _take_reason(text: str) -> tuple[str, str]:
    match = _REASON.search(text)
    if match is None:
        return "", text
    return _trimmed(match["reason"]), f"{text[: match.start()]} {text[match.end() :]}"


def _trimmed(text: str) -> str:
    """`text` without the punctuation around it and the "and" that led on to something else."""
    text = text.strip(_BLANKS)
    for link in _LINKS:
        if text.lower().endswith((f" {link}", f",{link}", f"，{link}")):
            text = text[: -len(link)].rstrip(_BLANKS)
    return text


def _clauses(text: str) -> Iterator[tuple[str, str]]:
    """(kind, words) for each verb, up to the next one; what stands before the first verb belongs to it."""
    matches = list(_CLAUSE.finditer(text))
    starts = [0, *(match.start() for match in matches[1:]), len(text)]
    for match, start, end in zip(matches, starts, starts[1:], strict=False):
        yield str(match.lastgroup), text[start:end]


def _read_refund(clause: str, reason: str) -> list[Intent]:
    numbers, rest = _take_orders(clause)
    amount = _AMOUNT.search(rest)
    value = Decimal(amount[0].replace(",", "")) if amount else None
    return [Refund(number, value, reason) for number in numbers] or [Tell("which_order")]


def _read_look_up(clause: str, reason: str) -> list[Intent]:
    return [LookUp(number) for number in _take_orders(clause)[0]]


def _read_calculation(clause: str, reason: str) -> list[Intent]:
    written = (match[0].strip() for match in _EXPRESSION.finditer(clause) if _OPERATOR.search(match[0]))
    expression = next(written, "").rstrip("+-*/ .").translate(_SIGNS)
    if not expression:
        return []
    call = Call.of("calculator", expression=expression)
    return [OneCall(call, "what_calculation", "calculation_done", {"expression": expression})]


def _read_time(clause: str, reason: str) -> list[Intent]:
    zone = _ZONE.search(clause)
    name = zone[0] if zone else "UTC"
    return [OneCall(Call.of("current_time", time_zone=name), "what_time", "time_done", {"time_zone": name})]


def _read_long(clause: str, reason: str) -> list[Intent]:
    return [Tell("long_answer")]


_READERS: dict[str, Callable[[str, str], list[Intent]]] = {
    "refund": _read_refund,
    "look_up": _read_look_up,
    "calculate": _read_calculation,
    "time": _read_time,
    "long": _read_long,
}


def _take_orders(clause: str) -> tuple[list[int], str]:
    """Order numbers, each once, and the clause without them."""
    found = [number for match in _ORDERS.finditer(clause) for number in re.findall(r"\d+", match["numbers"])]
    rest = _ORDERS.sub(" ", clause)
    if not found:
        found, rest = _LOOSE_ORDERS.findall(clause), _LOOSE_ORDERS.sub(" ", clause)
    return list(dict.fromkeys(int(number) for number in found))[:MAX_ORDERS], rest


def _without_verb(text: str) -> list[Intent]:
    """A bare sum ("12*7+3 = ?") or the mention of an order."""
    if _OPERATOR.search(text) and not re.search(r"[a-wyz]", text, re.IGNORECASE):
        return _read_calculation(text, "")
    match = _ORDERS.search(text)
    return _read_look_up(match[0], "") if match else []


def _without_needless_look_ups(intents: list[Intent]) -> list[Intent]:
    """A refund looks its order up anyway."""
    refunded = {intent.order_number for intent in intents if isinstance(intent, Refund)}
    return [intent for intent in intents if not _is_look_up(intent, refunded)]


def _is_look_up(intent: Intent, order_numbers: set[int]) -> bool:
    return isinstance(intent, LookUp) and intent.order_number in order_numbers
