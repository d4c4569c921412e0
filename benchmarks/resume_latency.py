"""From the POST of a decision to the first resumed token in the requester's open WebSocket."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.stack import Person, hidden_field, instant_model, running

REQUEST = re.compile(r"/admin/approvals/approvalrequest/([0-9a-f-]{36})/change/")
TOOL_TIME = """SELECT extract(epoch FROM finished_at - started_at) FROM runtime_toolcall
    WHERE tool = 'refund_order' ORDER BY created_at"""
READS = 1.0  # seconds until even a quick approver has pressed the button; mails have gone out by then
QUEUE = "/admin/approvals/approvalrequest/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=30, help="how many times it is measured")


def run(*, turns: int) -> None:
    with instant_model() as model, running(**model) as stack:
        alice, bob = Person(stack.base, "alice"), Person(stack.base, "bob")
        whole = [asyncio.run(one_turn(alice, bob)) for _ in range(turns + 1)]
        tool = [float(seconds) for (seconds,) in stack.rows(TOOL_TIME)]
    pairs = list(zip(whole, tool, strict=True))[1:]  # the first one warms up
    print(table(pairs))


async def one_turn(alice: Person, bob: Person) -> float:
    """Seconds from the decision's POST to the first resumed token."""
    assistant = hidden_field(alice.get("/"), "assistant")
    url = alice.post("/threads/", assistant=assistant, text="refund 0.01 of order 1042")
    thread = url.rstrip("/").rpartition("/")[2]
    socket_url = f"{alice.base.replace('http', 'ws')}/ws/threads/{thread}/"
    headers = {"Cookie": alice.cookie_header(), "Origin": alice.base}
    async with connect(socket_url, additional_headers=headers) as socket:
        return await resumed(socket, bob)


async def resumed(socket: ClientConnection, bob: Person) -> float:
    """Seconds from the POST of bob's approval of what waits to the first token that comes after."""
    await frame_with(socket, "waiting")
    request = await waiting_request(bob)
    page = await asyncio.to_thread(bob.get, f"{QUEUE}{request}/change/")
    fields = {"decision": "approve", "digest": hidden_field(page, "digest"), **arguments(page)}
    await asyncio.sleep(READS)
    decided = time.perf_counter()
    post = asyncio.create_task(asyncio.to_thread(bob.post, f"{QUEUE}{request}/decide/", **fields))
    await frame_with(socket, "done")
    while "append" not in json.loads(await asyncio.wait_for(socket.recv(), 10)):
        pass
    measured = time.perf_counter() - decided
    await post
    return measured


def arguments(page: str) -> dict[str, str]:
    """The fields of the decision page's form, as the browser would send them back."""
    inputs = re.findall(r'name="(arg-[^"]+)"[^>]*value="([^"]*)"', page)
    areas = re.findall(r'<textarea name="(arg-[^"]+)"[^>]*>([^<]*)<', page)
    return {**dict(inputs), **{name: text.strip("\n") for name, text in areas}}


async def frame_with(socket: ClientConnection, state: str) -> None:
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 15))
        if "tool-call" in frame.get("item", "") and f'data-state="{state}"' in frame.get("content", ""):
            return


async def waiting_request(bob: Person) -> str:
    found = REQUEST.search(await asyncio.to_thread(bob.get, QUEUE))
    if found is None:
        raise LookupError("nothing waits in the queue")
    return found.group(1)


def table(measured: list[tuple[float, float]]) -> str:
    whole = sorted(1000 * total for total, _ in measured)
    without = sorted(1000 * (total - tool) for total, tool in measured)
    rows = [("whole", whole), ("tool left out", without)]
    title = f"Decision POST -> first resumed token, {len(measured)} turns, a model that answers at once"
    lines = [f"{title}, milliseconds", ""]
    lines += ["|               |   p50 |   p95 |   max |", "| ------------- | ----: | ----: | ----: |"]
    for name, values in rows:
        p95 = values[min(len(values) - 1, int(0.95 * len(values)))]
        lines.append(f"| {name:13} | {statistics.median(values):5.0f} | {p95:5.0f} | {values[-1]:5.0f} |")
    return "\n".join(lines)
