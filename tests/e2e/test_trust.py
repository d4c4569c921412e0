"""Who may decide, how many, until when and in whose place: in the browser, and in the audit afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from accounts.models import User
from assistants.shop.models import Refund
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Page, expect
from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest, EditBound, Grant, PolicyRule, RequestStatus
from tests.e2e.conftest import SignIn
from tests.e2e.test_turn import QUEUE, ask_for_refund, begin, card, open_request
from tests.support.processes import until

Audited = Callable[..., None]

REASON = "The customer waits at the counter."


@pytest.fixture
def rule(rules: None) -> PolicyRule:
    return PolicyRule.objects.get(tool="refund_order")


@pytest.fixture
def finance(transactional_db: None) -> Group:
    group = Group.objects.create(name="Finance")
    group.permissions.set(
        Permission.objects.filter(codename__in=["decide", "view_approvalrequest", "view_vote"])
    )
    return group


@pytest.fixture
def frank(person: Callable[..., User], finance: Group) -> User:
    return person("frank", "Finance", staff=True)


@pytest.fixture
def colleagues(person: Callable[..., User]) -> list[User]:
    return [person(name, "Approvers", staff=True) for name in ("ben", "cem")]


@pytest.fixture
def audited(sign_in: SignIn, dave: User) -> Audited:
    """What the auditor must find."""

    def check(*actions: str) -> None:
        page = sign_in(dave)
        for action in actions:
            page.goto(f"/admin/runtime/auditevent/?action={action}")
            expect(page.locator("#result_list tbody tr").first).to_contain_text(action)

    return check


def page_of(page: Page, request: ApprovalRequest) -> str:
    return f"{QUEUE}{request.pk}/change/"


def pending() -> ApprovalRequest:
    return ApprovalRequest.objects.get(status=RequestStatus.PENDING)


def pass_by(request: ApprovalRequest, column: str) -> None:
    """The moment comes, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE approvals_approvalrequest SET {column} = clock_timestamp() WHERE id = %s", [request.pk]
        )


def approve(page: Page, request: ApprovalRequest) -> None:
    page.goto(page_of(page, request))
    page.get_by_role("button", name="Approve", exact=True).click()


def test_four_eyes(
    sign_in: SignIn, person: Callable[..., User], bob: User, rule: PolicyRule, audited: Audited
) -> None:
    """An approver who chats is an approver of others only."""
    erin = person("erin", "Approvers", "Chat users", staff=True)
    chat = sign_in(erin)
    ask_for_refund(chat)
    chat.goto(page_of(chat, pending()))
    expect(chat.locator("#decided")).to_contain_text("own run")

    approve(sign_in(bob), pending())

    until(Refund.objects.exists)
    audited("tool_call.waiting", "vote.created", "tool_call.approved", "tool_call.done")


def test_two_of_three(
    sign_in: SignIn, alice: User, bob: User, colleagues: list[User], rule: PolicyRule, audited: Audited
) -> None:
    rule.quorum = 2
    rule.save()
    chat, first, second = sign_in(alice), sign_in(bob), sign_in(colleagues[0])
    ask_for_refund(chat)

    approve(first, pending())
    expect(first.locator(".messagelist")).to_contain_text("1 of 2")
    expect(card(chat)).to_have_attribute("data-state", "waiting")
    approve(second, pending())

    expect(card(chat)).to_have_attribute("data-state", "done")
    assert Refund.objects.count() == 1
    audited("vote.created", "tool_call.approved")


def test_expiry_to_rejection(
    sign_in: SignIn, alice: User, bob: User, rule: PolicyRule, audited: Audited
) -> None:
    rule.expires_after = 60
    rule.save()
    chat = sign_in(alice)
    ask_for_refund(chat)

    pass_by(pending(), "expires_at")

    expect(card(chat)).to_have_attribute("data-state", "expired")  # within seconds, by the worker
    assert not Refund.objects.exists()
    audited("tool_call.expired")


def test_reminder_and_expiry_to_escalation(
    sign_in: SignIn, alice: User, bob: User, frank: User, finance: Group, rule: PolicyRule, audited: Audited
) -> None:
    PolicyRule.objects.filter(pk=rule.pk).update(
        expires_after=60, remind_after=30, on_expiry="escalate", escalate_to=finance
    )
    chat = sign_in(alice)
    ask_for_refund(chat)
    request = pending()
    pass_by(request, "remind_at")
    until(lambda: pending().remind_at is None)

    pass_by(request, "expires_at")
    until(lambda: pending().approvers == finance)
    approve(sign_in(frank), request)

    expect(card(chat)).to_have_attribute("data-state", "done")
    audited("approval_request.reminded", "approval_request.escalated", "tool_call.done")


def test_delegation(
    sign_in: SignIn, alice: User, bob: User, frank: User, rule: PolicyRule, audited: Audited
) -> None:
    chat, away, delegate = sign_in(alice), sign_in(bob), sign_in(frank)
    now = timezone.localtime()
    away.goto("/admin/approvals/delegation/add/")
    away.get_by_label("Decides meanwhile").select_option(label="frank")
    for name, moment in {"starts_at": now, "ends_at": now + timedelta(days=2)}.items():
        away.locator(f"[name={name}_0]").fill(moment.date().isoformat())
        away.locator(f"[name={name}_1]").fill(moment.time().isoformat("seconds"))
    away.get_by_role("button", name="Save", exact=True).click()
    expect(away.locator("#result_list")).to_contain_text("in force")
    ask_for_refund(chat)

    approve(delegate, pending())

    expect(card(chat)).to_have_attribute("data-state", "done")
    away.goto(page_of(away, ApprovalRequest.objects.get()))
    expect(away.locator(".votes")).to_contain_text("in place of bob")
    audited("delegation.created", "vote.created")


def test_a_grant_and_its_end(
    sign_in: SignIn, alice: User, bob: User, rule: PolicyRule, audited: Audited
) -> None:
    chat, admin = sign_in(alice), sign_in(bob)
    begin(chat, "Refund 10 of order 1042")
    expect(card(chat)).to_have_attribute("data-state", "waiting")
    open_request(admin)
    admin.locator("summary", has_text="allow calls like it").click()
    for name, how in {"order_number": "is", "amount": "at_most", "reason": "any"}.items():
        admin.locator(f"[name=grant-argument-{name}]").select_option(how)
    admin.locator("[name=grant-scope]").select_option("user")
    admin.get_by_role("button", name="Approve and allow").click()
    expect(card(chat)).to_have_attribute("data-state", "done")

    begin(chat, "Refund 5 of order 1042")
    expect(card(chat)).to_have_attribute("data-state", "done")  # nobody was asked
    assert Refund.objects.count() == 2
    admin.goto("/admin/approvals/grant/")
    expect(admin.locator("#result_list")).to_contain_text("1 of 5")
    admin.locator("#result_list .action-select").first.check()
    admin.locator("select[name=action]").select_option("revoke")
    admin.get_by_role("button", name="Go").click()
    expect(admin.locator("#result_list")).to_contain_text("revoked")

    begin(chat, "Refund 5 of order 1042")
    expect(card(chat)).to_have_attribute("data-state", "waiting")
    assert Grant.objects.get().revoked_by == bob
    audited("grant.created", "grant_use.created", "grant.revoked")


def test_break_glass(
    sign_in: SignIn, alice: User, bob: User, admin: User, rule: PolicyRule, audited: Audited
) -> None:
    chat, root = sign_in(alice), sign_in(admin)
    ask_for_refund(chat)
    root.goto(page_of(root, pending()))
    root.locator("summary", has_text="Break the glass").click()
    root.locator("#break-glass-reason").fill(REASON)
    root.get_by_role("button", name="Override and approve").click()

    expect(card(chat)).to_have_attribute("data-state", "done")
    root.goto(page_of(root, ApprovalRequest.objects.get()))
    expect(root.locator(".votes")).to_contain_text("break-glass")
    audited("approval_request.overridden")


def test_an_edit_outside_and_within_the_bounds(
    sign_in: SignIn, alice: User, bob: User, rule: PolicyRule, audited: Audited
) -> None:
    EditBound.objects.create(rule=rule, argument="amount", operator="at most", value="50")
    chat, admin = sign_in(alice), sign_in(bob)
    ask_for_refund(chat)
    open_request(admin)
    for amount in ("55", "50"):
        box = admin.locator("details#change")
        if box.get_attribute("open") is None:
            box.locator("summary").click()
        admin.locator("[name=arg-amount]").fill(amount)
        admin.get_by_role("button", name="Approve with changes").click()
        if amount == "55":
            expect(admin.locator(".messagelist")).to_contain_text("amount")
            assert pending()

    expect(card(chat)).to_have_attribute("data-state", "done")
    assert ToolCall.objects.get(tool="refund_order").args["amount"] == "50"
    audited("tool_call.approved", "vote.created")


def test_who_asked_confirms_alone(
    sign_in: SignIn, alice: User, bob: User, rule: PolicyRule, audited: Audited
) -> None:
    rule.requester_confirms = True
    rule.save()
    chat = sign_in(alice)
    ask_for_refund(chat)

    card(chat).get_by_role("button", name="Confirm").click()

    expect(card(chat)).to_have_attribute("data-state", "done")
    assert ApprovalRequest.objects.get().via == "confirm"
    audited("vote.created", "tool_call.approved")
