"""The queue beside the runs, with the worker of the command as a process of its own."""

from __future__ import annotations

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from django.core import mail
from django.db.models.functions import Now
from runtime import jobs
from runtime.models import Assistant, Run, Thread, ToolCall
from runtime.redis_client import redis_client

from apps.approvals import notifications
from apps.approvals.models import ApprovalRequest
from apps.approvals.notifications.models import Delivery
from apps.approvals.notifications.outbox import enqueue_due
from tests.support.nursery import Process
from tests.support.processes import until
from tests.support.smtp import MailServer


@pytest.fixture
def request_of(bob: User, alice: User, assistant: Assistant) -> ApprovalRequest:
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    run = Run.objects.create(thread=thread, assistant=assistant, user=alice, status="waiting", input={})
    call = ToolCall.objects.create(
        thread=thread, run=run, user=alice, assistant=assistant, tool="refund_order", args={}
    )
    approvers = Group.objects.get(name="Approvers")
    return ApprovalRequest.objects.create(tool_call=call, question="permission", approvers=approvers)


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_its_own_sends_what_redis_lost_and_survives_its_own_death(
    request_of: ApprovalRequest,
) -> None:
    redis_client().flushdb()
    with MailServer() as server:
        smtp = {
            "COUNTERSIGN_EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
            "COUNTERSIGN_EMAIL_HOST": "127.0.0.1",
            "COUNTERSIGN_EMAIL_PORT": str(server.port),
        }
        with Process("worker", "--queue", "maintenance", **smtp) as worker:
            until(lambda: redis_client().smembers("rq:workers"))
            notifications.announce(request_of, "opened")
            until(lambda: Delivery.objects.filter(status="sent").count() == 1)
            worker.kill()

            notifications.announce(request_of, "reminded")
            redis_client().flushdb()

        with Process("worker", "--queue", "maintenance", **smtp):
            until(lambda: enqueue_due() or Delivery.objects.filter(status="sent").count() == 2)
            until(lambda: Delivery.objects.filter(status="sent").count() == 2)

        assert [text.count("alice asks for refund_order") > 0 for text in server.messages] == [True, True]
    assert not Delivery.objects.filter(due_at__gt=Now()).exists()
    assert mail.outbox == []
    redis_client().flushdb()


@pytest.mark.django_db(transaction=True)
def test_jobs_that_are_queued_are_told_from_those_that_are_not() -> None:
    redis_client().flushdb()
    jobs.enqueue("a.b.perform", ["1", "2"])

    assert jobs.not_queued("a.b.perform", ["1", "2", "3"]) == ["3"]
    redis_client().flushdb()


@pytest.mark.parametrize("path", ["os.system", "", "runtime.worker.execute_run", "perform"])
def test_only_what_is_listed_is_performed(path: str) -> None:
    with pytest.raises(PermissionError):
        jobs.callable_of(path)
