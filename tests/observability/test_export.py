from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from accounts.models import User
from asgiref.sync import sync_to_async
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connections
from django.test import AsyncClient, Client
from runtime.models import Run, ToolCall

from apps.observability import downloads, export

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/runtime/toolcall/"
CSV = f"{LIST}export/csv/"
JSON = f"{LIST}export/jsonl/"


@pytest.fixture(autouse=True)
async def _connections_closed() -> AsyncIterator[None]:
    """The thread that sync_to_async uses outlives the test, and so would its connection."""
    yield
    await sync_to_async(connections.close_all)()


async def download(user: User, url: str, data: dict[str, Any] | None = None) -> str:
    client = AsyncClient()
    await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
    response = await (client.post(url, data) if data else client.get(url))
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("attachment;")
    chunks = [chunk async for chunk in response.streaming_content]
    return b"".join(chunks).decode()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_it_exports_every_field(approved_turn: tuple[Run, Run, ToolCall], dave: User) -> None:
    _, run, call = approved_turn
    (row,) = [json.loads(line) for line in (await download(dave, JSON)).splitlines()]
    assert row["id"] == str(call.pk)
    assert row["run"] == str(run.pk)
    assert row["args"] == {"order_number": 1042, "amount": "59.90"}
    assert (row["requester"], row["decided_by"], row["decision"]) == ("alice", "bob", "approve")
    assert (row["seconds"], row["result"]) == (0.5, "Refunded.")


async def test_both_kinds_hold_the_same(approved_turn: tuple[Run, Run, ToolCall], dave: User) -> None:
    (as_csv,) = rows_of(await download(dave, CSV))
    as_json = json.loads(await download(dave, JSON))
    assert list(as_csv) == list(as_json)
    assert json.loads(as_csv["args"]) == as_json["args"]
    assert as_csv["result"] == as_json["result"]


async def test_it_exports_all_rows_in_order_over_many_chunks(
    make_call: Callable[..., ToolCall], dave: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK", 2)
    calls = [await sync_to_async(make_call)() for _ in range(7)]  # all proposed at the same instant
    found = [row["id"] for row in rows_of(await download(dave, CSV))]
    assert sorted(found) == sorted(str(call.pk) for call in calls)


async def test_it_exports_what_the_list_shows(make_call: Callable[..., ToolCall], dave: User) -> None:
    failed = await sync_to_async(make_call)("failed")
    await sync_to_async(make_call)("done")
    (row,) = rows_of(await download(dave, f"{CSV}?state__exact=failed"))
    assert row["id"] == str(failed.pk)


async def test_it_exports_the_chosen_rows(make_call: Callable[..., ToolCall], dave: User) -> None:
    chosen = await sync_to_async(make_call)()
    await sync_to_async(make_call)()
    data = {"action": "export_as_csv", ACTION_CHECKBOX_NAME: [str(chosen.pk)]}
    (row,) = rows_of(await download(dave, LIST, data))
    assert row["id"] == str(chosen.pk)


async def test_long_rows_come_in_small_chunks(
    make_call: Callable[..., ToolCall], dave: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FEW", 2)
    monkeypatch.setattr(export, "TEXT", 4000)
    for _ in range(6):
        await sync_to_async(make_call)(result="x" * 4000)
    client = AsyncClient()
    await client.aforce_login(dave, backend="django.contrib.auth.backends.ModelBackend")
    response = await client.get(JSON)
    lines = [chunk.count(b"\n") async for chunk in response.streaming_content]

    assert lines == [2, 1, 1, 1, 1]


async def test_a_third_download_waits_for_the_end_of_another(
    make_call: Callable[..., ToolCall], dave: User, admin: User
) -> None:
    await sync_to_async(make_call)()
    daves, admins = AsyncClient(), AsyncClient()
    for client, user in ((daves, dave), (admins, admin)):
        await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
    first, _second = await daves.get(CSV), await daves.get(JSON)

    refused = await daves.get(CSV)
    assert (refused.status_code, refused["Retry-After"]) == (429, "10")
    assert "Wait until one of them ends" in refused.content.decode()
    assert (await admins.get(CSV)).status_code == 200

    assert [chunk async for chunk in first.streaming_content]
    assert (await daves.get(CSV)).status_code == 200


def test_a_download_that_nobody_reads_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        downloads.begin(1)
    monkeypatch.setattr(downloads, "monotonic", lambda: time.monotonic() + downloads.STALE + 1)

    downloads.begin(1)


def test_a_process_serves_so_many_and_no_more() -> None:
    for user in range(downloads.AT_ONCE):
        downloads.begin(user)

    with pytest.raises(downloads.TooManyDownloads):
        downloads.begin(99)


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
async def test_no_cell_is_a_formula(make_call: Callable[..., ToolCall], dave: User, value: str) -> None:
    await sync_to_async(make_call)(reason=value, result="59.90 paid")
    (row,) = rows_of(await download(dave, CSV))
    assert row["reason"] == f"'{value}"
    assert row["result"] == "59.90 paid"


@pytest.mark.parametrize("who", ["bob", "operator"])
def test_those_without_the_permission_export_nothing(
    request: pytest.FixtureRequest,
    signed_in: Callable[[User], Client],
    make_call: Callable[..., ToolCall],
    who: str,
) -> None:
    call = make_call()
    client = signed_in(request.getfixturevalue(who))
    assert client.get(CSV).status_code == client.get(JSON).status_code == 403
    client_sees = client.get(LIST).content
    assert b"export/csv" not in client_sees
    assert b"export_as_csv" not in client_sees
    response = client.post(LIST, {"action": "export_as_csv", ACTION_CHECKBOX_NAME: [str(call.pk)]})
    assert "attachment" not in response.headers.get("Content-Disposition", "")


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(CSV)["Location"].startswith("/admin/login/")


def test_auditors_see_the_buttons_with_the_filters_of_the_list(
    signed_in: Callable[[User], Client], dave: User
) -> None:
    text = signed_in(dave).get(f"{LIST}?state__exact=failed").content
    assert b"export/csv/?state__exact=failed" in text
