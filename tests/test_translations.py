"""The Chinese catalogue is whole, up to date, and is what people see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from accounts.keys import create_key
from accounts.models import User
from accounts.scopes import Scope
from babel.messages.catalog import Message
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.timezone import now
from runtime import runs
from runtime.exceptions import ThreadWaiting
from runtime.models import Run, RunStatus, Thread, ToolState

from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.support.calls import proposed_by

EXTRACT = Path(__file__).resolve().parents[1] / "templates" / "locale" / "extract.py"
PLACEHOLDER = re.compile(r"%\(\w+\)[-+#0 .\d]*[a-zA-Z]|\{\w*\}|%%|</?\w+>")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
CHINESE_FIRST = {"HTTP_ACCEPT_LANGUAGE": "zh-hans,en;q=0.5"}


def load_extract() -> Any:
    spec = spec_from_file_location("extract_messages", EXTRACT)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


extract = load_extract()
CATALOGUE = [message for message in extract.catalogue() if message.id]


def forms(text: str | tuple[str, ...]) -> list[str]:
    """The text and its plurals."""
    return [text] if isinstance(text, str) else list(text)


def keys(messages: Any) -> set[tuple[str | None, str]]:
    return {(message.context, message.id) for message in messages if message.id}


def test_extraction_finds_python_templates_and_placeholders() -> None:
    found = {message.id for message in extract.extracted()}
    assert "Approvals" in found  # gettext_lazy
    assert ("Approve %(count)s request?", "Approve %(count)s requests?") in found  # ngettext
    assert "Sign in" in found  # {% translate %}
    assert "Try with %(assistant)s" in found  # {% blocktranslate %}
    assert ("Reject %(counter)s request", "Reject %(counter)s requests") in found  # with {% plural %}


def test_contexts_are_kept() -> None:
    template = (
        b'<a title="\'">{% translate "May" context "month" %}</a>\n  {% if x %}\n{{ _("Two") }}{% endif %}'
    )
    found = list(extract.extract_template(BytesIO(template), extract.KEYWORDS, (), {}))
    assert [(function, message) for _line, function, message, _comments in found] == [
        ("pgettext", ("month", "May")),
        ("_", "Two"),
    ]


def test_catalogue_has_every_message_of_the_source_and_no_other() -> None:
    """When this fails: `make messages`, then translate what it names in django.po."""
    assert keys(CATALOGUE) == keys(extract.extracted())


def test_everything_is_translated() -> None:
    assert extract.untranslated(extract.catalogue()) == []


@pytest.mark.parametrize("message", CATALOGUE, ids=lambda message: forms(message.id)[0])
def test_placeholders_and_markup_match(message: Message) -> None:
    wanted = sorted(PLACEHOLDER.findall(forms(message.id)[-1]))
    for string in forms(message.string):
        assert sorted(PLACEHOLDER.findall(string)) == wanted


def test_files_are_as_make_messages_writes_them() -> None:
    result = extract.updated()
    assert extract.PO.read_bytes() == extract.as_po(result)
    assert extract.MO.read_bytes() == extract.as_mo(result)


def test_django_uses_it() -> None:
    with translation.override("zh-hans"):
        assert translation.gettext("Approve") == "批准"
        assert translation.ngettext("Approve %(count)s request?", "Approve %(count)s requests?", 3) == (
            "批准 %(count)s 项请求？"
        )


class Words(HTMLParser):
    """What a page says: its texts, and the attributes that are shown or spoken. Not what is marked as data."""

    SPOKEN = ("aria-label", "title", "placeholder", "alt", "data-text", "data-lost", "data-copyable", "value")
    VOID = ("meta", "link", "input", "img", "br", "use", "hr")
    DATA = ("script", "style", "code", "time", "pre")

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._open: list[bool] = []
        """For each open element, whether what is in it is data."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        shown = dict(attrs)
        inside = bool(self._open and self._open[-1])
        is_data = inside or tag in self.DATA or self._is_marked(tag, shown)
        if not is_data:
            names = self.SPOKEN if tag != "option" else ()
            # A <button> shows what is in it; its value is what is sent.
            shows_value = tag == "input" and shown.get("type") in ("submit", "button")
            self.said += [
                str(shown[name]) for name in names if name in shown and (shows_value or name != "value")
            ]
        if tag not in self.VOID:
            self._open.append(is_data)

    def _is_marked(self, tag: str, attrs: dict[str, str | None]) -> bool:
        """Tools' arguments, and languages named in themselves."""
        is_other_language = "lang" in attrs and tag != "html"
        return is_other_language or attrs.get("translate") == "no" or attrs.get("class") == "arguments"

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not (self._open and self._open[-1]):
            self.said.append(data)


def said_by(html: str) -> list[str]:
    words = Words()
    words.feed(html)
    return [" ".join(text.split()) for text in words.said if text.strip()]


def english_in(html: str) -> Iterator[str]:
    """Messages of the catalogue that the page says in English: as they stand, or between their placeholders."""
    said = said_by(html)
    for message in CATALOGUE:
        for text in forms(message.id):
            if text in forms(message.string):
                continue
            parts = [re.escape(part) for part in PLACEHOLDER.split(" ".join(text.split()))]
            if any(re.search(r"[A-Za-z]{2}", part) for part in parts):
                pattern = re.compile(".+?".join(parts))
                yield from (words for words in said if pattern.fullmatch(words))


def assert_chinese(client: Client, url: str) -> str:
    response = client.get(url, **CHINESE_FIRST)  # type: ignore[arg-type]
    html = response.content.decode()
    assert response.status_code == 200
    assert '<html lang="zh-hans"' in html
    assert CHINESE.search("".join(said_by(html)))
    assert list(english_in(html)) == []
    return html


@pytest.fixture
def waiting(thread: Thread, bob: User) -> ApprovalRequest:
    """A refund that alice's assistant wants and bob may decide on."""
    run = Run.objects.create(
        thread=thread,
        assistant=thread.assistant,
        user=thread.owner,
        status=RunStatus.WAITING,
        started_at=now(),
    )
    args = {"order_number": 1042, "euros": "59.90"}
    call = proposed_by(run, args=args, sensitive=True, state=ToolState.WAITING, policy="Refunds")
    group = Group.objects.get(name="Approvers")
    rule, _ = PolicyRule.objects.get_or_create(
        name="Refunds", defaults={"tool": "refund_order", "verdict": "ask", "approvers": group}
    )
    return ApprovalRequest.objects.create(tool_call=call, question="permission", rule=rule, approvers=group)


def test_english_is_noticed() -> None:
    assert list(english_in("<p>Sign in</p>")) == ["Sign in"]
    assert list(english_in('<p><b title="Try with Shop">对话</b></p>')) == ["Try with Shop"]
    assert list(english_in('<p>登录 <code>Sign in</code><i translate="no">status</i></p>')) == []


@pytest.mark.django_db
def test_sign_in_is_chinese() -> None:
    assert "登录" in assert_chinese(Client(), reverse("login"))


def test_home_is_chinese(alice: User, thread: Thread, signed_in: Callable[[User], Client]) -> None:
    html = assert_chinese(signed_in(alice), reverse("chat-home"))
    assert "新会话" in html


def test_thread_is_chinese(
    alice: User, waiting: ApprovalRequest, signed_in: Callable[[User], Client]
) -> None:
    html = assert_chinese(signed_in(alice), reverse("chat-thread", args=[waiting.tool_call.thread_id]))
    assert "等待审批" in html


def test_queue_is_chinese(bob: User, waiting: ApprovalRequest, signed_in: Callable[[User], Client]) -> None:
    html = assert_chinese(signed_in(bob), reverse("admin:approvals_approvalrequest_changelist"))
    assert "待决定" in html


def test_empty_queue_is_chinese(bob: User, signed_in: Callable[[User], Client]) -> None:
    html = assert_chinese(signed_in(bob), reverse("admin:approvals_approvalrequest_changelist"))
    assert "没有待处理的审批" in html


def test_decision_page_is_chinese(
    bob: User, waiting: ApprovalRequest, signed_in: Callable[[User], Client]
) -> None:
    url = reverse("admin:approvals_approvalrequest_change", args=[waiting.pk])
    assert "您的决定" in assert_chinese(signed_in(bob), url)


def test_a_refusal_is_chinese(
    alice: User, waiting: ApprovalRequest, signed_in: Callable[[User], Client]
) -> None:
    with translation.override("zh-hans"), pytest.raises(ThreadWaiting, match="正在等待决定"):
        runs.send_message(waiting.tool_call.thread, alice, "Hello")


def test_the_policys_pages_are_chinese(
    admin: User, waiting: ApprovalRequest, signed_in: Callable[[User], Client]
) -> None:
    assert waiting.rule
    waiting.rule.version()
    client = signed_in(admin)
    url = reverse("admin:approvals_policyrule_try")

    assert "试一次调用" in assert_chinese(client, reverse("admin:approvals_policyrule_changelist"))
    assert "无人决定时" in assert_chinese(
        client, reverse("admin:approvals_policyrule_change", args=[waiting.rule.pk])
    )
    assert "策略会如何裁决" in assert_chinese(client, f"{url}?call={waiting.tool_call_id}")


def test_the_pages_of_keys_are_chinese(signed_in: Callable[[User], Client], alice: User, admin: User) -> None:
    key, _ = create_key(alice, "nightly", [Scope.CHAT], timedelta(days=1))
    mine, staff = signed_in(alice), signed_in(admin)

    assert "创建密钥" in assert_chinese(mine, reverse("keys"))
    for name in ("key-rotate", "key-revoke"):
        assert "保留" in assert_chinese(mine, reverse(name, args=[key.pk]))
    for name in ("rotate", "revoke", "change"):
        assert_chinese(staff, reverse(f"admin:accounts_apikey_{name}", args=[key.pk]))
    answer = Client().get("/api/v1/auth/me", headers={"Accept-Language": "zh-hans"})
    assert "请登录" in answer.json()["detail"]
