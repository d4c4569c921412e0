"""One's own keys and the API's documentation, as a browser shows them."""

from __future__ import annotations

import httpx
import pytest
from accounts.models import ApiKey, User
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import SignIn
from tests.support.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

PHONE = {"viewport": {"width": 375, "height": 740}}


def assert_usable(page: Page) -> None:
    """By everybody, and without scrolling sideways."""
    width, fits = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= fits
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("options", "scheme"), [({}, "light"), (PHONE, "dark")])
def test_a_key_is_made_copied_used_and_revoked(
    product: Product, sign_in: SignIn, alice: User, options: dict[str, object], scheme: str
) -> None:
    page = sign_in(alice, color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"], **options)
    page.get_by_role("button", name="alice").click()
    page.get_by_role("link", name="API keys").click()
    expect(page.get_by_text("You have no key so far.")).to_be_visible()
    assert_usable(page)

    page.get_by_label("Name").fill("Nightly report")
    page.get_by_label("Chat: start runs").check()
    page.get_by_role("button", name="Make the key").press("Enter")
    expect(page.get_by_role("heading", name="Your new key")).to_be_visible()
    assert_usable(page)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    me = f"{product.url}/api/v1/auth/me"
    assert httpx.get(me, headers={"x-api-key": text}).json()["username"] == "alice"

    page.get_by_role("link", name="Back to the keys").click()
    assert_usable(page)
    page.get_by_role("link", name="Revoke Nightly report").click()
    assert_usable(page)
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("was revoked")).to_be_visible()
    assert ApiKey.objects.get().status == "revoked"
    assert httpx.get(me, headers={"x-api-key": text}).status_code == 401


def test_the_documentation_runs_under_our_policy(product: Product, sign_in: SignIn, alice: User) -> None:
    """`sign_in` fails the test at any word of the console, a refusal by the policy among them."""
    page = sign_in(alice)
    page.goto("/api/v1/docs")

    page.get_by_text("/api/v1/auth/me").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table")).to_contain_text('"username": "alice"')
