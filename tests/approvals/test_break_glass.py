"""Who decides on what others are asked says why."""

from __future__ import annotations

from apps.approvals import policy
from apps.approvals.models import (
    Way,
)
from tests.approvals.conftest import fresh, page_of, post


def test_breaking_the_glass_needs_the_permission_and_a_reason(alice, admin, bob, dave, waiting, signed_in):
    approval = waiting(alice)
    why = "The customer waits at the counter."

    assert "Break the glass" in signed_in(admin).get(page_of(approval)).content.decode()
    assert "Break the glass" not in signed_in(dave).get(page_of(approval)).content.decode()
    assert post(signed_in(admin), approval, "approve").status_code == 403
    assert post(signed_in(dave), approval, "approve", override="on", note=why).status_code == 403
    assert post(signed_in(admin), approval, "approve", override="on", note="now").status_code == 422
    assert post(signed_in(admin), approval, "approve", override="on", note=why).status_code == 302

    approval = fresh(approval)
    assert (approval.via, approval.decided_by, approval.reason) == (Way.BREAK_GLASS, admin, why)
    assert policy.objection(approval.tool_call) == ""
    assert "break-glass" in signed_in(dave).get(page_of(approval)).content.decode()


def test_nobody_breaks_the_glass_for_themselves(admin, bob, waiting, signed_in):
    approval = waiting(admin)

    assert "Break the glass" not in signed_in(admin).get(page_of(approval)).content.decode()
    answer = post(signed_in(admin), approval, "approve", override="on", note="because I am the admin here")
    assert answer.status_code == 403
    assert fresh(approval).is_pending
