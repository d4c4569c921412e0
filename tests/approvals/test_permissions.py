"""Who may decide on what, at the service and at the page."""

from __future__ import annotations

import pytest
from accounts import roles
from runtime import decisions
from runtime.exceptions import DecisionRefused

from apps.approvals.permissions import decidable, objection_to
from tests.approvals.conftest import page_of, post

PEOPLE = {"alice": False, "carol": False, "bob": True, "dave": False, "operator": False, "admin": False}


@pytest.mark.parametrize(("name", "may"), PEOPLE.items())
@pytest.mark.parametrize("kind", ["approve", "edit", "respond", "reject"])
def test_the_service_refuses_everybody_but_approvers(request, waiting, alice, name, may, kind):
    user = request.getfixturevalue(name)
    approval = waiting(alice)
    decision = {"type": kind, "message": "because", "args": approval.tool_call.args}

    if may:
        decisions.decide(user, approval.tool_call_id, decision)
    else:
        with pytest.raises(DecisionRefused):
            decisions.decide(user, approval.tool_call_id, decision)
    approval.refresh_from_db()
    assert approval.is_pending is not may
    assert bool(objection_to(user, approval)) is not may


@pytest.mark.parametrize(("name", "may"), PEOPLE.items())
def test_the_badge_counts_what_one_may_decide(request, waiting, alice, name, may):
    waiting(alice)

    assert decidable(request.getfixturevalue(name)).count() == int(may)


@pytest.mark.parametrize("is_superuser", [False, True])
def test_nobody_decides_on_their_own_run(waiting, person, signed_in, is_superuser):
    erin = person("erin", roles.APPROVERS, staff=True, superuser=is_superuser)
    approval = waiting(erin)
    client = signed_in(erin)

    page = client.get(page_of(approval))
    assert page.status_code == 200
    assert 'name="decision"' not in page.content.decode()
    assert "own run" in page.content.decode()
    assert post(client, approval, "approve").status_code == 403
    approval.refresh_from_db()
    assert approval.is_pending


def test_who_may_only_look_is_refused_by_post(waiting, alice, dave, signed_in):
    approval = waiting(alice)
    client = signed_in(dave)

    page = client.get(page_of(approval))
    assert page.status_code == 200
    assert 'name="decision"' not in page.content.decode()
    assert "permission to decide is missing" in page.content.decode()
    assert post(client, approval, "approve").status_code == 403
    approval.refresh_from_db()
    assert approval.is_pending


def test_an_approver_of_another_group_is_refused(waiting, alice, person, signed_in):
    from django.contrib.auth.models import Group, Permission

    others = Group.objects.create(name="Others")
    others.permissions.set(Permission.objects.filter(codename__in=["decide", "view_approvalrequest"]))
    frank = person("frank", "Others", staff=True)
    approval = waiting(alice)
    client = signed_in(frank)

    assert "only members of Approvers" in client.get(page_of(approval)).content.decode()
    assert post(client, approval, "approve").status_code == 403


def test_chat_users_and_strangers_never_see_the_queue(waiting, alice, carol, signed_in, client):
    approval = waiting(alice)

    for visitor in (client, signed_in(alice), signed_in(carol)):
        for answer in (visitor.get(page_of(approval)), post(visitor, approval, "approve")):
            assert answer.status_code == 302
            assert "/login/" in answer["Location"]
    approval.refresh_from_db()
    assert approval.is_pending


def test_staff_without_a_permission_see_nothing(waiting, alice, person, signed_in):
    approval = waiting(alice)
    client = signed_in(person("gina", staff=True))

    for url in (
        page_of(approval),
        "/admin/approvals/approvalrequest/",
        f"/admin/approvals/approvalrequest/{approval.pk}/history/",
    ):
        assert client.get(url).status_code == 403
    assert post(client, approval, "approve").status_code == 403


def test_an_approver_switched_off_after_loading_the_page_is_refused(waiting, alice, bob, signed_in):
    approval = waiting(alice)
    client = signed_in(bob)
    assert client.get(page_of(approval)).status_code == 200

    bob.is_active = False
    bob.save()

    assert post(client, approval, "approve").status_code == 302  # to the login page
    with pytest.raises(DecisionRefused):
        decisions.decide(bob, approval.tool_call_id, {"type": "approve"})
    approval.refresh_from_db()
    assert approval.is_pending


def test_an_approver_who_left_the_group_after_loading_the_page_is_refused(waiting, alice, bob, signed_in):
    approval = waiting(alice)
    client = signed_in(bob)
    client.get(page_of(approval))

    bob.groups.clear()

    assert post(client, approval, "approve").status_code == 403
