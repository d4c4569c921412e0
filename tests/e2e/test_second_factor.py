"""An authenticator app and single sign-on, as a browser shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from accounts.models import User
from django.contrib.auth.hashers import make_password
from playwright.sync_api import Browser, Page, expect

from tests.conftest import PASSWORD
from tests.e2e.test_api_pages import PHONE, assert_usable
from tests.support import provider as providers
from tests.support.phone import Phone
from tests.support.product import Web

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def strict(transactional_db: None) -> Iterator[Web]:
    """The pages, where staff need an app."""
    web = Web(COUNTERSIGN_STAFF_TOTP="required")
    web.start()
    yield web
    web.stop()


def give_password(page: Page, path: str) -> None:
    page.goto(path)
    page.get_by_label("Username").fill("bob")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")


@pytest.mark.parametrize(("options", "scheme"), [({}, "light"), (PHONE, "dark")])
def test_an_app_is_set_up_and_signs_in(
    strict: Web, browser: Browser, bob: User, options: dict[str, Any], scheme: str
) -> None:
    bob.password = make_password(PASSWORD, hasher="pbkdf2_sha256")
    bob.save()
    context = browser.new_context(base_url=strict.url, color_scheme=scheme, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if "Security" in said.text else None)

    give_password(page, "/admin/")
    expect(page.get_by_role("heading", name="Set up your authenticator app")).to_be_visible()
    assert page.get_by_role("img", name="QR code").evaluate("image => image.naturalWidth") > 0
    page.get_by_text("Enter a key instead").click()
    phone = Phone(page.locator("details code").inner_text().replace(" ", ""))
    assert_usable(page)
    page.get_by_role("textbox", name="Code").fill(phone.code(-1))
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").filter(has=page.locator("code"))).to_have_count(10)
    assert_usable(page)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("heading", name="Site administration")).to_be_visible()
    page.goto("/accounts/factor/")
    expect(page.get_by_text("10 recovery codes are left")).to_be_visible()
    assert_usable(page)

    page.context.clear_cookies()
    give_password(page, "/accounts/login/")
    expect(page.get_by_role("textbox", name="Code")).to_be_focused()
    assert_usable(page)
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This code is not right")).to_be_visible()
    assert_usable(page)
    page.get_by_role("textbox", name="Code").fill(phone.code())
    page.keyboard.press("Enter")
    page.wait_for_url(f"{strict.url}/admin/approvals/approvalrequest/")  # where approvers begin
    context.close()
    assert complaints == []


@pytest.mark.parametrize(("options", "scheme"), [({}, "light"), (PHONE, "dark")])
def test_a_button_leads_to_the_provider_and_back(
    transactional_db: None, browser: Browser, bob: User, options: dict[str, Any], scheme: str
) -> None:
    """Under our policy for forms, and with a cookie that comes along from another site's redirect."""
    with providers.running() as provider:
        provider.claims = {"sub": "b", "email": bob.email, "email_verified": True}
        web = Web(
            COUNTERSIGN_OIDC_ISSUER=provider.issuer,
            COUNTERSIGN_OIDC_CLIENT_ID=providers.CLIENT_ID,
            COUNTERSIGN_OIDC_CLIENT_SECRET=providers.CLIENT_SECRET,
            COUNTERSIGN_OIDC_NAME="Acme",
        )
        web.start()
        context = browser.new_context(base_url=web.url, color_scheme=scheme, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto("/accounts/login/")
        assert_usable(page)
        page.goto("/admin/approvals/approvalrequest/")
        page.get_by_role("link", name="Sign in with Acme").click()
        page.wait_for_url(f"{web.url}/admin/approvals/approvalrequest/")
        context.close()
        web.stop()
