"""A turn with an approval, as people see it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from playwright.sync_api import Browser, Locator, Page, expect
from runtime.models import Message, Run, RunStatus, Thread, ToolCall

from tests.e2e.conftest import SignIn
from tests.support.processes import until
from tests.support.product import Product

QUEUE = "/admin/approvals/approvalrequest/"


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def begin(page: Page, text: str) -> None:
    """A new thread from the home page."""
    page.goto("/")
    page.locator("textarea[name=text]").fill(text)
    page.locator("textarea[name=text]").press("Enter")
    page.wait_for_url(re.compile(r"/threads/[0-9a-f-]{36}/"))


def card(page: Page, tool: str = "refund_order") -> Locator:
    return page.locator("details.card", has_text=tool)


def open_request(page: Page) -> None:
    page.goto(QUEUE)
    page.locator("#result_list tbody a").first.click()
    page.wait_for_url(re.compile(r"/change/"))


def ask_for_refund(page: Page) -> None:
    begin(page, "Refund order 1042")
    expect(card(page)).to_have_attribute("data-state", "waiting")


def last_answer(page: Page) -> Locator:
    return page.locator("article.message--ai .prose").last


def test_alice_asks_bob_approves_and_the_open_page_goes_on(
    sign_in: SignIn, product: Product, alice: User, bob: User, order: Order
) -> None:
    chat, admin = sign_in(alice, by_form=True), sign_in(bob, by_form=True)
    ask_for_refund(chat)
    assert Refund.objects.count() == 0

    open_request(admin)
    admin.get_by_role("button", name="Approve", exact=True).click()

    expect(card(chat)).to_have_attribute("data-state", "done")
    expect(last_answer(chat)).to_contain_text("59.90")
    expect(chat.locator("#composer")).to_have_attribute("data-status", "idle")
    order.refresh_from_db()
    assert order.refunded == Decimal("59.90")
    assert Refund.objects.count() == 1
    # It has served the chat, the admin and both sockets by now.
    loaded = {name.split(".")[0] for name in product.web.modules()}
    assert loaded.isdisjoint({"langgraph", "langchain", "langchain_core", "langchain_openai"})
    assert "channels" in loaded


def test_a_rejection_and_its_reason_reach_alice(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)

    open_request(admin)
    admin.locator("summary", has_text="Reject").click()
    admin.locator("[name='reason']").fill("The shop has closed its books")
    admin.get_by_role("button", name="Reject", exact=True).click()

    expect(card(chat)).to_have_attribute("data-state", "rejected")
    expect(last_answer(chat)).to_contain_text("closed its books")
    assert Refund.objects.count() == 0


def test_an_edited_amount_is_what_is_refunded(sign_in: SignIn, alice: User, bob: User, order: Order) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)

    open_request(admin)
    admin.locator("summary", has_text="Change the arguments").click()
    admin.locator("[name='arg-amount']").fill("12.50")
    admin.get_by_role("button", name="Approve with changes").click()

    expect(card(chat)).to_have_attribute("data-state", "done")
    order.refresh_from_db()
    assert order.refunded == Decimal("12.50")


def test_an_answer_stands_in_the_tools_place(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)

    open_request(admin)
    admin.locator("summary", has_text="in the tool's place").click()
    admin.locator("[name='answer']").fill("I refunded it by hand this morning.")
    admin.locator("button[value=respond]").click()

    expect(card(chat)).to_have_attribute("data-state", "responded")
    expect(last_answer(chat)).to_contain_text("by hand this morning")
    assert Refund.objects.count() == 0


def test_a_double_clicked_approve_is_one_decision(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)

    open_request(admin)
    admin.get_by_role("button", name="Approve", exact=True).dblclick(no_wait_after=True)

    expect(card(chat)).to_have_attribute("data-state", "done")
    assert Refund.objects.count() == 1
    assert Run.objects.filter(command__isnull=False).count() == 1


def test_two_tabs_stay_in_step(sign_in: SignIn, alice: User) -> None:
    one = sign_in(alice)
    begin(one, "hello")
    expect(one.locator("#composer")).to_have_attribute("data-status", "idle")
    two = one.context.new_page()
    two.goto(one.url)

    say(one, "tell me a long story")

    expect(two.locator("article.message--human")).to_have_count(2)
    for page in (one, two):
        expect(page.locator("#composer")).to_have_attribute("data-status", "idle", timeout=40_000)
        expect(page.locator("article.message--ai")).to_have_count(2)
    assert one.locator("#timeline").inner_text() == two.locator("#timeline").inner_text()


def test_a_server_that_is_killed_mid_stream_costs_no_token(
    sign_in: SignIn, product: Product, alice: User
) -> None:
    page = sign_in(alice)
    begin(page, "tell me a long story")
    expect(page.locator("article.message--ai")).to_have_count(1)
    until(lambda: len(page.locator("article.message--ai").last.inner_text()) > 200)

    product.web.kill()
    expect(page.locator("#connection")).to_be_visible()
    product.web.start()

    expect(page.locator("#composer")).to_have_attribute("data-status", "idle", timeout=40_000)
    assert_shows_all(page)


def test_a_connection_dropped_again_and_again_doubles_nothing(sign_in: SignIn, alice: User) -> None:
    page = sign_in(alice)
    page.add_init_script(
        "const Native = WebSocket; window.sockets = [];"
        "window.WebSocket = class extends Native { constructor(...a) { super(...a); window.sockets.push(this); } };"
    )
    begin(page, "tell me a long story")
    for _ in range(4):
        page.wait_for_timeout(700)
        page.evaluate("window.sockets.at(-1).close(4000)")  # as the page does when it hears nothing

    expect(page.locator("#composer")).to_have_attribute("data-status", "idle", timeout=40_000)
    assert_shows_all(page)


def assert_shows_all(page: Page) -> None:
    """What the live page shows is what a page rendered anew from the database shows."""
    live = page.locator("#timeline").inner_text()
    page.reload()
    assert page.locator("#timeline").inner_text() == live
    assert Message.objects.filter(role="ai").count() == page.locator("article.message--ai").count()


def test_a_page_opened_mid_stream_shows_it_all(sign_in: SignIn, alice: User) -> None:
    one = sign_in(alice)
    begin(one, "tell me a long story")
    until(lambda: len(one.locator("article.message--ai").last.inner_text()) > 200)
    two = one.context.new_page()
    two.goto(one.url)

    assert len(two.locator("article.message--ai").last.inner_text()) > 150
    for page in (one, two):
        expect(page.locator("#composer")).to_have_attribute("data-status", "idle", timeout=40_000)
    assert one.locator("#timeline").inner_text() == two.locator("#timeline").inner_text()


def test_stop_stops_and_keeps_what_was_said(sign_in: SignIn, alice: User) -> None:
    page = sign_in(alice)
    begin(page, "tell me a long story")
    until(lambda: len(page.locator("article.message--ai").last.inner_text()) > 100)

    page.get_by_role("button", name="Stop").click()

    expect(page.locator("article.message--ai")).to_contain_text("Cut off here")
    assert Run.objects.get().status == RunStatus.CANCELLED
    say(page, "hello")
    expect(page.locator("article.message--ai")).to_have_count(2)


def test_enter_of_an_input_method_does_not_send(sign_in: SignIn, alice: User) -> None:
    page = sign_in(alice)
    begin(page, "hello")
    expect(page.locator("#composer")).to_have_attribute("data-status", "idle")
    box = page.locator("#text")
    box.fill("ni hao")
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    box.press("Shift+Enter")
    page.wait_for_timeout(300)

    assert box.input_value() == "ni hao\n"
    assert Message.objects.filter(role="human").count() == 1


def test_the_queue_and_the_badge_update_live(sign_in: SignIn, alice: User, bob: User) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    admin.goto(QUEUE)
    expect(admin.locator("#result_list tbody tr")).to_have_count(0)

    ask_for_refund(chat)

    expect(admin.locator("#result_list tbody tr")).to_have_count(1)
    expect(admin).to_have_title(re.compile(r"\(1\)"))


def test_without_javascript_forms_post_and_redirect(sign_in: SignIn, alice: User, bob: User) -> None:
    page = sign_in(alice, java_script_enabled=False)
    page.goto("/")
    page.locator("textarea[name=text]").fill("Refund order 1042")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url(re.compile(r"/threads/[0-9a-f-]{36}/"))
    until(lambda: ToolCall.objects.filter(state="waiting").exists())
    page.reload()

    expect(page.locator("details.card", has_text="refund_order")).to_have_attribute("data-state", "waiting")


def test_carol_does_not_find_alices_thread(sign_in: SignIn, alice: User, carol: User) -> None:
    mine = sign_in(alice)
    begin(mine, "hello")

    answer = sign_in(carol).goto(mine.url)

    assert answer is not None
    assert answer.status == 404


@pytest.mark.parametrize("path", ["/", QUEUE])
def test_a_stranger_is_asked_to_sign_in(product: Product, browser: Browser, path: str) -> None:
    page = browser.new_page()
    page.goto(f"{product.url}{path}")

    assert "/login/" in page.url
    page.close()


def test_alice_is_not_let_into_the_queue(sign_in: SignIn, alice: User, bob: User, admin: User) -> None:
    ask_for_refund(sign_in(alice))
    page = sign_in(alice)
    page.goto(QUEUE)

    assert page.locator("#result_list").count() == 0


def test_a_superuser_does_not_decide_on_their_own_call(sign_in: SignIn, admin: User, bob: User) -> None:
    page = sign_in(admin)
    ask_for_refund(page)
    page.goto(f"{QUEUE}?mine=no")
    page.locator("#result_list tbody a").first.click()
    page.wait_for_url(re.compile(r"/change/"))

    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    assert Thread.objects.get().owner == admin
