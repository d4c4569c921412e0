"""A real browser on the whole product."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts.models import User
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import PASSWORD
from tests.support import product as products
from tests.support.demo import DemoModel
from tests.support.product import Product

BY = 0.7  # the last browser file begins when this share of the others has
Files = list[list[pytest.Item]]
SignIn = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not longer than for one file: while it is there, an event loop runs in the tests' own thread."""
    path = products.chromium()
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Django would refuse the ORM in such a thread
        yield playwright.chromium.launch(executable_path=path, args=products.CHROMIUM_FLAGS)


@pytest.fixture(scope="session")
def paced_model() -> Iterator[DemoModel]:
    """Slow enough to look at while it streams."""
    with DemoModel(delay=15) as model:
        yield model


@pytest.fixture(scope="session")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")  # not longer: its worker would perform other tests' runs
def shared_product(
    django_db_setup: None, django_db_blocker: Any, paced_model: DemoModel, mail: Path
) -> Iterator[Product]:
    env = {
        "OPENAI_BASE_URL": paced_model.base_url,
        "OPENAI_MODEL": "demo-model",
        "COUNTERSIGN_HOME": str(mail),
    }
    with django_db_blocker.unblock(), products.running(**env) as product:
        yield product


@pytest.fixture
def product(
    shared_product: Product, transactional_db: None, order: object, rules: object, assistant: object
) -> Product:
    return shared_product


@pytest.fixture
def sign_in(product: Product, browser: Browser) -> Iterator[SignIn]:
    """A page in a context of its own, signed in, whose console must stay free of errors."""
    contexts = []
    complaints: list[str] = []

    def make(user: User, *, by_form: bool = False, **options: Any) -> Page:
        # Without a card's breathing: drawing it takes a core.
        usual = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
        context = browser.new_context(base_url=product.url, **{**usual, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if by_form:
            give_password(page, user)
        else:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME]
            context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": product.url}])
            page.goto("/")
        return page

    yield make
    for context in contexts:
        context.close()
    # What a test does on purpose (a dead server, a 409) is in the console too.
    serious = [
        text for text in complaints if "Content Security Policy" in text or "Error" in text.split(":")[0]
    ]
    assert serious == []


def give_password(page: Page, user: User) -> None:
    """Signs in as people do. Half a second of hashing, twice."""
    user.password = make_password(PASSWORD, hasher="pbkdf2_sha256")
    user.save()
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "login" not in url)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Between the others' files; skipped, and said so, where there is no browser."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    here = [file for path, file in files.items() if path.is_relative_to(Path(__file__).parent)]
    rest = [file for path, file in files.items() if not path.is_relative_to(Path(__file__).parent)]
    items[:] = [item for file in spread(here, rest) for item in file]
    for item in (item for file in here for item in file):
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.django_db(transaction=True))
        if products.chromium() is None and not os.environ.get("REQUIRE_BROWSER"):
            item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


def spread(slow: Files, rest: Files) -> Files:
    """The slow files take minutes and most of a core: side by side they would time out, and last they would be late."""
    every = max(1, int(BY * len(rest) / max(1, len(slow))))
    waiting = sorted(slow, key=len)
    found: Files = []
    for number, file in enumerate(rest):
        if number % every == 0 and waiting:
            found.append(waiting.pop())
        found.append(file)
    return [*found, *reversed(waiting)]
