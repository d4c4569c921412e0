"""Attacks 15 and 66, where only a browser can say how they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from playwright.sync_api import Page, Route
from runtime.models import Run, RunStatus

from tests.chat.conftest import worker  # noqa: F401  (a fixture)
from tests.security.registry import attack
from tests.security.test_model_output import ATTACKS
from tests.security.without import patched
from tests.support.processes import until

PLACE = "The place of what got in"

# Each leaves its number in `window.ran`.
GOT_IN = [
    "<script>ran.push(0)</script>",
    "<img src=x onerror='ran.push(1)'>",
    "<svg onload='ran.push(2)'></svg>",
    "<iframe srcdoc='<script>parent.ran.push(3)</script>'></iframe>",
    "<details open ontoggle='ran.push(4)'>x</details>",
    "<script src='data:text/javascript,ran.push(5)'></script>",
    "<style>@keyframes k{} p.k{animation:k 1s}</style><p class=k onanimationstart='ran.push(6)'>x</p>",
]

Through = Callable[[Route], None]


def as_it_comes(route: Route) -> None:
    route.continue_()


@pytest.fixture
def opened(product, browser, signed_in, alice, thread) -> Iterator[Callable[..., Page]]:
    """alice's page of her thread, whose answers of the server go through `through`."""
    contexts = []

    def open_page(through: Through, **options: object) -> Page:
        context = browser.new_context(base_url=product.url, **options)
        contexts.append(context)
        cookie = signed_in(alice).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": product.url}])
        context.add_init_script(
            "window.ran = []; window.refused = [];"
            "addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective));"
            "window.frames_seen = 0; addEventListener('thread:frame', () => frames_seen++, true);"
        )
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.route("**/*", through)
        page.goto(reverse("chat-thread", args=[thread.pk]))
        return page

    yield open_page
    for context in contexts:
        context.close()


def at_work(worker) -> Run:  # noqa: F811
    """A run of this test's own, which the product's worker leaves alone."""
    thread = worker.thread
    mine = {"status": RunStatus.RUNNING, "attempt": 1, "lease_expires_at": Now() + timedelta(minutes=5)}
    return Run.objects.create(
        thread=thread, user=thread.owner, assistant=thread.assistant, started_at=Now(), **mine
    )


def got_in(route: Route) -> None:
    """As if the sanitiser were gone, and what was said stood in the page as it is."""
    answer = route.fetch()
    headers = shown(answer.headers)
    route.fulfill(response=answer, headers=headers, body=answer.text().replace(PLACE, "".join(GOT_IN)))


def shown(headers: dict[str, str]) -> dict[str, str]:
    return headers


def without_policy(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-security-policy"}


def through_page(route: Route) -> None:
    (got_in if route.request.resource_type == "document" else as_it_comes)(route)


@attack(
    15,
    "scripts and handlers that got past the sanitiser into a page, in Chromium",
    "none runs, and the browser reports them",
    control="the page's Content-Security-Policy",
    without=patched("tests.e2e.test_attacks.shown", without_policy),
    held=lambda outcome: outcome == ([], True),
    fallen=lambda outcome: len(outcome[0]) > 4 and not outcome[1],
    known_as="ASVS 3.4.3, LLM05",
)
def test_15_scripts_in_a_page(opened, worker):  # noqa: F811
    worker.say(at_work(worker), "a", PLACE)
    reports: list[str] = []
    page = opened(through_page)
    page.on("request", lambda request: reports.append(request.url) if "csp-report" in request.url else None)
    page.reload()
    page.wait_for_timeout(500)
    return sorted(page.evaluate("ran")), bool(page.evaluate("refused")) and bool(reports)


def test_a_message_with_every_known_trick_runs_nothing(opened, worker) -> None:  # noqa: F811
    """By the sanitiser alone: not even the policy has anything to refuse."""
    run = at_work(worker)
    for at, text in enumerate([*GOT_IN, *ATTACKS]):
        worker.say(run, f"m{at}", text.replace("alert(1)", "ran.push(1)"))
    page = opened(as_it_comes)
    page.wait_for_timeout(500)

    assert page.locator("article.message--ai").count() == len(GOT_IN) + len(ATTACKS)
    assert page.evaluate("ran") == []
    assert page.evaluate("refused") == []


SPLIT = [
    ("<scr", "ipt>ran.push(0)</scr", "ipt>"),
    ("<img src=x one", "rror='ran.push(1)'>"),
    ("<svg onlo", "ad=ran.push(2)>", "</svg>"),
    ("<", "details open ontoggle=ran.push(3)>x</details>"),
]

APPEND = ".append(frame.text)"
JOINED_AS_HTML = ".insertAdjacentHTML('beforeend', (window.joined = (window.joined ?? '') + frame.text))"


def script(text: str) -> str:
    return text


def that_writes_html(text: str) -> str:
    assert APPEND in text
    return text.replace(APPEND, JOINED_AS_HTML)


def through_script(route: Route) -> None:
    if "thread.js" not in route.request.url:
        return as_it_comes(route)
    answer = route.fetch()
    return route.fulfill(response=answer, body=script(answer.text()))


POLICY_OFF = False


@attack(
    66,
    "a payload in pieces of a stream, none of which is one by itself",
    "text, when all of it has come",
    control="pieces are joined as text; and the page's Content-Security-Policy",
    without=[
        patched("tests.e2e.test_attacks.script", that_writes_html),
        patched("tests.e2e.test_attacks.POLICY_OFF", True),
    ],
    held=(0, []),
    fallen=lambda outcome: outcome[0] > 2 and len(outcome[1]) > 1,
    known_as="LLM05",
)
def test_66_a_payload_in_pieces(opened, worker):  # noqa: F811
    run = at_work(worker)
    worker.stream(run, "m", "Look: ")
    page = opened(through_script, bypass_csp=POLICY_OFF)
    page.wait_for_selector("article.message--open")
    for pieces in SPLIT:
        for piece in pieces:
            before = page.evaluate("frames_seen")
            worker.stream(run, "m", piece)
            until(lambda before=before: page.evaluate("frames_seen") > before)
    page.wait_for_timeout(300)
    made = page.locator(".message--open .message__text *").count()
    return made, sorted(set(page.evaluate("ran")))
