"""The queue and the decision page, by keyboard, on a phone, and as axe-core judges them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from accounts.models import User
from assistants.shop.tools import refund_order
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Page, expect
from runtime import events
from runtime.models import Assistant, Message, Run, Thread

from apps.approvals.models import ApprovalRequest, PolicyRule, SavedView
from tests.e2e.conftest import SignIn
from tests.e2e.test_turn import QUEUE, ask_for_refund, card
from tests.support.calls import proposed_by
from tests.support.decided import decided

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PICTURES = os.environ.get("SCREENSHOTS", "")
"""A folder for pictures of what was judged; none by default."""

Ask = Callable[..., ApprovalRequest]


@pytest.fixture
def ask(assistant: Assistant, bob: User) -> Ask:
    """A request that waits, without a turn behind it: for what is only looked at."""
    rule = PolicyRule.objects.filter(verdict="ask").first() or PolicyRule.objects.create(
        name="all wait", verdict="ask", approvers=Group.objects.get(name="Approvers")
    )

    def make(
        user: User, number: int = 1042, *, risk: int = 2, minutes: float = 0, **fields: object
    ) -> ApprovalRequest:
        thread = Thread.objects.create(owner=user, assistant=assistant, title="A jug that came broken")
        run = Run.objects.create(thread=thread, assistant=assistant, user=user, status="waiting", input={})
        Message.objects.create(
            thread=thread, run=run, message_id=str(uuid4()), role="human", content="It is broken."
        )
        args = {"order_number": number, "amount": "59.90", "reason": "It came broken, says the customer."}
        call = proposed_by(
            run,
            args=args,
            sensitive=True,
            why="The customer says that it came broken.",
            args_schema=refund_order.args_schema,
            preview="Order 1042 of Ada: total 59.90 EUR, refunded so far 0.00 EUR.\nAfter: 0.00 EUR left.",
        )
        call.advance("waiting", policy=rule.name)
        request = call.approval_requests.get()
        expires = timezone.now() + timedelta(minutes=minutes) if minutes else None
        ApprovalRequest.objects.filter(pk=request.pk).update(risk=risk, expires_at=expires, **fields)
        return request

    return make


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def rows(page: Page) -> list[str]:
    """The addresses of the requests in the list."""
    return [link.get_attribute("href") or "" for link in page.locator("#result_list tbody th a").all()]


def focused(page: Page) -> str:
    return str(
        page.evaluate("document.activeElement.getAttribute('href') ?? document.activeElement.name ?? ''")
    )


def test_an_approver_decides_with_the_keyboard_alone(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)
    admin.goto(QUEUE)

    admin.keyboard.press("j")
    assert focused(admin) in rows(admin)
    admin.keyboard.press("a")
    admin.wait_for_url(re.compile(r"/change/.*#approve"))
    expect(admin.locator("[name=note]")).to_be_focused()
    assert ApprovalRequest.objects.get().is_pending  # the key itself decides nothing
    admin.keyboard.type("are you sure? j a r")  # keys, in a field, are text
    admin.keyboard.press("Control+Enter")

    expect(card(chat)).to_have_attribute("data-state", "done")
    assert ApprovalRequest.objects.get().reason == "are you sure? j a r"


def test_keys_lead_through_the_list_and_to_their_boxes(
    sign_in: SignIn, alice: User, bob: User, ask: Ask
) -> None:
    requests = [ask(alice, number) for number in (1, 2, 3)]
    page = sign_in(bob)
    page.goto(QUEUE)
    first, second, third = rows(page)

    for keys, there in [("j", first), ("j", second), ("j", third), ("j", third), ("k", second)]:
        page.keyboard.press(keys)
        assert focused(page) == there
    page.keyboard.press("x")
    expect(page.locator("input.action-select:checked")).to_have_count(1)
    assert focused(page) == second
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.keyboard.type("jx?")
    expect(page.locator("#keys")).to_be_hidden()
    page.locator("#searchbar").blur()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()

    for key, box in [("e", "arg-order_number"), ("r", "reason"), ("a", "note"), ("c", "text")]:
        page.goto(second)
        page.keyboard.press(key)
        assert focused(page) == box
    page.goto(second)
    page.keyboard.press("u")
    page.wait_for_url(re.compile(r"/approvalrequest/$"))
    assert all(ApprovalRequest.objects.get(pk=request.pk).is_pending for request in requests)


def test_single_keys_can_be_switched_off(sign_in: SignIn, alice: User, bob: User, ask: Ask) -> None:
    ask(alice)
    page = sign_in(bob)
    page.goto(QUEUE)
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single keys work in this browser").uncheck()
    page.get_by_role("button", name="Close").click()

    page.keyboard.press("j")
    assert focused(page) not in rows(page)
    page.reload()
    page.keyboard.press("j")
    assert focused(page) not in rows(page)


def test_a_new_request_leaves_ticks_focus_and_sight_where_they_are(
    sign_in: SignIn, alice: User, bob: User, ask: Ask
) -> None:
    for number in range(1, 13):
        ask(alice, number)
    page = sign_in(bob)
    page.goto(QUEUE)
    tenth = rows(page)[9]
    page.locator("#result_list tbody tr").nth(9).locator("input.action-select").check()
    page.locator(f'th a[href="{tenth}"]').focus()
    page.locator(f'th a[href="{tenth}"]').scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 50)")
    place = "document.activeElement.getBoundingClientRect().top"
    before = page.evaluate(place)

    ask(alice, 99, risk=3)  # comes first, above all others
    events.notify("approvals")

    expect(page.locator("#result_list tbody tr")).to_have_count(13)
    assert focused(page) == tenth
    expect(page.locator("tr.selected input.action-select:checked")).to_have_count(1)
    assert abs(page.evaluate(place) - before) < 2


def test_the_countdown_ticks_and_ends(sign_in: SignIn, alice: User, bob: User, ask: Ask) -> None:
    ask(alice, minutes=0.15)
    page = sign_in(bob)
    page.goto(QUEUE)
    clock = page.locator("#result_list .expiry")

    expect(clock).to_have_text(re.compile(r"^0:0\d$"))
    expect(clock).to_have_text("expired", timeout=15_000)


def test_what_is_changed_is_shown_as_it_is_typed(sign_in: SignIn, alice: User, bob: User, ask: Ask) -> None:
    request = ask(alice)
    page = sign_in(bob)
    page.goto(f"{QUEUE}{request.pk}/change/#edit")
    field = page.locator("[name='arg-reason']")
    change = page.locator(".field", has=field).locator(".change")

    expect(change).to_be_hidden()
    field.fill("It came bro\u200bken, says the customer.")
    expect(change.locator("ins")).to_have_text("\\u{200b}")
    field.fill("It came late, says the customer.")
    expect(change.locator("del")).to_have_text("broken")
    expect(change.locator("ins")).to_have_text("late")
    page.get_by_role("button", name="Reset").click()
    expect(change).to_be_hidden()


def test_a_comment_reaches_the_open_page_of_another(
    sign_in: SignIn, alice: User, bob: User, admin: User, ask: Ask
) -> None:
    request = ask(alice)
    reader, writer = sign_in(bob), sign_in(admin)
    for page in (reader, writer):
        page.goto(f"{QUEUE}{request.pk}/change/")
    reader.locator("[name=note]").fill("half written")

    writer.keyboard.press("c")
    writer.keyboard.type("Has the jug come back?")
    writer.keyboard.press("Control+Enter")

    expect(reader.locator("#comment-list")).to_contain_text("Has the jug come back?")
    expect(reader.locator("[name=note]")).to_have_value("half written")


def test_an_approver_decides_on_a_phone(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, phone = sign_in(alice), sign_in(bob, viewport=PHONE, has_touch=True, is_mobile=True)
    ask_for_refund(chat)
    phone.goto(QUEUE)
    is_wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

    assert not phone.evaluate(is_wider)
    phone.locator("#result_list tbody th a").tap()
    phone.wait_for_url(re.compile(r"/change/"))
    assert not phone.evaluate(is_wider)
    button = phone.get_by_role("button", name="Approve", exact=True)
    size = button.bounding_box()
    assert size
    assert size["height"] >= 44
    button.tap()

    expect(card(chat)).to_have_attribute("data-state", "done")


@pytest.fixture
def scene(alice: User, bob: User, ask: Ask) -> ApprovalRequest:
    """Something of everything that the pages can show."""
    request = ask(alice, risk=3, minutes=4, quorum=2)
    request.votes.create(
        voter=alice, principal=alice, verdict="approve", args_digest=request.tool_call.args_digest
    )
    request.comments.create(author=bob, text="Has the jug come back?")
    ask(alice, 1043, risk=1, minutes=60 * 30)
    ask(alice, 1044, minutes=300)
    ask(alice, 1045)
    failed = ask(alice, 1041).tool_call
    assert decided(failed, "approved", decision="approve", decided_by=bob)
    failed.advance("running", started_at=timezone.now())
    failed.advance("failed", finished_at=timezone.now(), error="RefundRefused: nothing is left.")
    SavedView.objects.create(owner=bob, name="Refunds", query="tool=refund_order")
    return request


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
def test_axe_finds_nothing_serious(
    sign_in: SignIn, bob: User, scene: ApprovalRequest, scheme: str, viewport: dict[str, int]
) -> None:
    page = sign_in(bob, viewport=viewport, color_scheme=scheme)
    size = "phone" if viewport == PHONE else "desktop"
    found = []

    def judge(name: str) -> None:
        picture(page, f"{name}-{size}-{scheme}")
        results = Axe().run(page, options=WCAG)
        found.extend(
            (name, each["id"], [node["html"][:120] for node in each["nodes"]])
            for each in results.response["violations"]
            if each["impact"] in SERIOUS
        )

    for name, url in {
        "queue": QUEUE,
        "view": f"{QUEUE}?tool=refund_order",
        "decided": f"{QUEUE}?status=decided",
        "empty": f"{QUEUE}?status=expired",
        "decision": f"{QUEUE}{scene.pk}/change/#edit",
    }.items():
        page.goto(url)
        expect(page.locator("body")).to_contain_text("Countersign")
        judge(name)
    page.locator("[name='arg-amount']").fill("-1")
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.locator(".errorlist").first).to_be_visible()
    judge("error")
    if viewport == DESKTOP:
        page.get_by_role("button", name="Keys").click()
        judge("keys")

    assert found == []
