from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest
from accounts.models import User
from django.test import Client
from django.urls import URLPattern, reverse
from django_rq.urls import urlpatterns as all_of_django_rq
from rq import Queue
from runtime.redis_client import redis_client

from apps.observability import dashboard

pytestmark = pytest.mark.django_db

VALUES = {
    "queue_index": 0,
    "scheduler_index": 0,
    "connection_index": 0,
    "job_id": "job",
    "result_id": "result",
    "key": "worker",
    "scheduler_name": "scheduler",
    "cron_job_name": "job",
}


def url_of(pattern: URLPattern) -> str:
    wanted = pattern.pattern.converters or dict.fromkeys(pattern.pattern.regex.groupindex, None)
    kwargs = {name: VALUES.get(name, "token") for name in wanted}
    return reverse(f"django_rq:{pattern.name}", kwargs=kwargs)


def every_url() -> list[str]:
    return sorted({url_of(pattern) for pattern in dashboard.urlpatterns})


def test_every_url_of_django_rq_is_mounted() -> None:
    assert {pattern.name for pattern in dashboard.urlpatterns} == {p.name for p in all_of_django_rq}
    assert all(url.startswith("/admin/queues/") for url in every_url())


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    for url in every_url():
        for response in (client.get(url), client.post(url)):
            assert response.status_code == 302, url
            assert response["Location"].startswith("/admin/login/"), url


@pytest.mark.parametrize("who", ["carol", "bob", "dave"])
def test_nobody_without_the_permission_gets_in(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], who: str
) -> None:
    client = signed_in(request.getfixturevalue(who))
    for url in every_url():
        assert client.get(url).status_code == 403, url
        assert client.post(url, {"action": "delete"}).status_code == 403, url


def test_an_approver_can_not_empty_a_queue(signed_in: Callable[[User], Client], bob: User) -> None:
    queue = Queue("batch", connection=redis_client())
    queue.enqueue("runtime.worker.execute_run", "x")
    signed_in(bob).post(reverse("django_rq:clear", args=[0]))
    assert queue.count == 1


def test_an_operator_sees_queues_and_their_jobs(signed_in: Callable[[User], Client], operator: User) -> None:
    Queue("batch", connection=redis_client()).enqueue("runtime.worker.execute_run", "x", job_id="run-x")
    client = signed_in(operator)
    assert b"interactive" in client.get("/admin/queues/").content
    assert b"run-x" in client.get(reverse("django_rq:jobs", args=[0])).content
    assert client.get(reverse("django_rq:job_detail", args=[0, "run-x"])).status_code == 200


def test_an_operator_can_empty_a_queue(signed_in: Callable[[User], Client], operator: User) -> None:
    queue = Queue("batch", connection=redis_client())
    queue.enqueue("runtime.worker.execute_run", "x")
    signed_in(operator).post(reverse("django_rq:clear", args=[0]))
    assert queue.count == 0


def test_its_inline_script_is_let_through_by_hash(
    signed_in: Callable[[User], Client], operator: User
) -> None:
    response = signed_in(operator).get(reverse("django_rq:jobs", args=[0]))
    text = response.content.decode()
    (script,) = re.findall(r'<script type="text/javascript">(.*?)</script>', text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == dashboard.SCRIPT
    policy = response["Content-Security-Policy"].split(";")
    (scripts,) = [part for part in policy if "script-src" in part]
    assert dashboard.SCRIPT in scripts
    assert "unsafe-inline" not in scripts


def test_posts_need_a_csrf_token(operator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(reverse("django_rq:clear", args=[0])).status_code == 403


def test_only_those_who_may_see_the_link(
    signed_in: Callable[[User], Client], operator: User, dave: User
) -> None:
    link = reverse("admin:django_rq_dashboard_changelist").encode()
    assert link in signed_in(operator).get("/admin/").content
    assert link not in signed_in(dave).get("/admin/").content
    assert signed_in(operator).get(link.decode())["Location"] == "/admin/queues/"
    assert signed_in(dave).get(link.decode()).status_code in (302, 403)
