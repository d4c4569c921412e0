"""Whatever `/api/v1` allows by its description, and much that it does not: answered as described, and never with a 5xx.

API_EXAMPLES says how many requests each operation gets: ten, so that all of them together are some two hundred. By hand
`API_EXAMPLES=250 make test ARGS=tests/config/test_schemathesis.py` sends five thousand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from accounts import keys, roles
from accounts.models import User
from accounts.scopes import Scope
from config.api import api
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from runtime import runs
from runtime.models import Assistant, RunQueue, Thread
from schemathesis import checks

from tests.support.demo import DemoModel
from tests.support.product import Product, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(3600)]

EXAMPLES = int(os.environ.get("API_EXAMPLES", "10"))
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]

schema = schemathesis.openapi.from_dict(api.get_openapi_schema())


@pytest.fixture(scope="module")
def shared_product(django_db_setup: None, django_db_blocker: Any, demo_model: DemoModel) -> Iterator[Product]:
    env = {
        "OPENAI_BASE_URL": demo_model.base_url,
        "OPENAI_MODEL": "demo-model",
        "COUNTERSIGN_API_USER_RATE": "off",
        "COUNTERSIGN_API_KEY_RATE": "off",
        "COUNTERSIGN_API_ADDRESS_RATE": "off",
    }
    with django_db_blocker.unblock(), running(**env) as product:
        yield product


@pytest.fixture
def ids(shared_product: Product, assistant: Assistant, person: Callable[..., User]) -> dict[str, str]:
    """Of what is there, beside the many that a fuzzer makes up; and the key of somebody who may do everything."""
    everybody = (roles.CHAT_USERS, roles.APPROVERS, roles.AUDITORS)
    alice = person("alice", *everybody, staff=True)
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    run = runs.send_message(thread, alice, "Hello")
    batch = uuid4()
    own = Thread.objects.create(owner=alice, assistant=assistant)
    runs.send_message(own, alice, "A text.", fields={"queue": RunQueue.BATCH, "batch": batch})
    text = keys.create_key(alice, "fuzz", tuple(Scope), timezone.timedelta(days=1))[1]
    return {"key": text, "session_id": str(thread.pk), "task_id": str(run.pk)} | {
        "analysis_id": str(run.pk),
        "batch_id": str(batch),
    }


@schema.given(is_real=st.booleans())
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_it_answers_as_described(
    case: schemathesis.Case, is_real: bool, shared_product: Product, ids: dict[str, str]
) -> None:
    # Not to listen to: a session that is there is followed for a minute.
    if is_real and not case.path.endswith("/events/{session_id}"):
        case.path_parameters.update({name: ids[name] for name in case.path_parameters if name in ids})

    case.call_and_validate(
        base_url=shared_product.url,
        headers={"Authorization": f"Bearer {ids['key']}"},
        checks=CHECKS,
        timeout=90,
    )
