"""What a turn costs on long threads: LangGraph's own messages channel against the DeltaChannel of the shop's graph."""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import time
from dataclasses import dataclass
from uuid import UUID

from websockets.asyncio.client import connect

from benchmarks import graph
from benchmarks.accounts import Account
from benchmarks.load import Turn, percentiles
from benchmarks.product import CURSOR, PageUser
from benchmarks.resume_latency import resumed
from benchmarks.stack import Person, Stack, instant_model, running
from benchmarks.time_travel import Api, Travels, travel

CHANNELS = {"plain": graph.PLAIN_SHOP_ID, "delta": "shop"}
LENGTHS = (10, 100, 1000)
# Before compression: what the worker serializes and sends.
WRITTEN = """SELECT
    (SELECT coalesce(sum(octet_length(checkpoint::text) + octet_length(metadata::text)), 0) FROM checkpoints)
    + (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_blobs)
    + (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes)"""
NEWEST_RUNS = """SELECT 1000 * extract(epoch FROM ended_at - started_at) FROM runtime_run
    WHERE thread_id = %s ORDER BY created_at DESC LIMIT %s"""
RESUMED_RUNS = """SELECT 1000 * extract(epoch FROM
        (run.ended_at - run.started_at) - (call.finished_at - call.started_at))
    FROM runtime_run run JOIN runtime_toolcall call ON call.run_id = run.resumes_id
    WHERE run.thread_id = %s"""
HEADINGS = (
    "messages",
    "channel",
    "turn ms p50 / p95",
    "in the worker",
    "kB",
    "resumed: first token",
    "in the worker",
    "look back",
    "fork",
    "in the worker",
    "kB",
)


@dataclass(frozen=True)
class Measured:
    length: int
    channel: str
    turns: list[float]
    """Milliseconds from the POST of a message to the finished answer on the page."""
    runs: list[float]
    """Milliseconds of each of these turns in the worker."""
    written: float
    """Bytes of checkpoints per turn."""
    resumes: list[float]
    """Milliseconds from the POST of an approval to the first token after it."""
    resumed_runs: list[float]
    """Milliseconds of each of these in the worker, to the end of the answer, the tool's own left out."""
    travels: Travels
    forked_runs: list[float]
    forked_written: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=20, help="turns that are measured on each thread")
    parser.add_argument("--resumes", type=int, default=5, help="approvals that are measured on each thread")


def run(*, turns: int, resumes: int) -> None:
    with (
        instant_model() as model,
        running(**model, COUNTERSIGN_GRAPHS=graph.REGISTERED_PLAIN_SHOP, COUNTERSIGN_WORKERS="1") as stack,
    ):
        alice, bob = Person(stack.base, "alice"), Person(stack.base, "bob")
        print(
            f"{turns} turns and looks back, {resumes} approvals on each thread, a model that answers at once\n"
        )
        print(f"| {' | '.join(HEADINGS)} |")
        print("| ---: | --- |" + " ---: |" * (len(HEADINGS) - 2))
        for length in LENGTHS:
            for channel, graph_id in CHANNELS.items():
                account = stack.run("benchmarks.history", "alice", graph_id, str(length))
                thread = account["thread"]
                taken, written = asyncio.run(take(stack, alice, thread, turns))
                runs = newest_runs(stack, thread, turns)
                waited = [asyncio.run(resume(alice, bob, thread)) for _ in range(resumes)]
                resumed_runs = [float(ms) for (ms,) in stack.rows(RESUMED_RUNS, UUID(thread))]
                before = bytes_written(stack)
                travels = travel(Api(stack.base, account["key"]), thread, graph_id, turns)
                forked = (bytes_written(stack) - before) / (turns + 1)
                forked_runs = newest_runs(stack, thread, turns)
                measured = Measured(
                    length,
                    channel,
                    taken,
                    runs,
                    written / turns,
                    waited,
                    resumed_runs,
                    travels,
                    forked_runs,
                    forked,
                )
                print(line(measured), flush=True)


def newest_runs(stack: Stack, thread: str, count: int) -> list[float]:
    return [float(ms) for (ms,) in stack.rows(NEWEST_RUNS, UUID(thread), count)]


async def take(stack: Stack, alice: Person, thread: str, turns: int) -> tuple[list[float], float]:
    """Milliseconds of each turn, and the bytes of checkpoints that all of them wrote."""
    account: Account = {"session": alice.cookie("sessionid"), "key": "", "thread": thread}
    user = PageUser(stack.base, account)
    await user.open()
    await user.take(Turn())  # the worker builds its graph
    before = bytes_written(stack)
    taken = []
    for _ in range(turns):
        began = time.perf_counter()
        await user.take(Turn())
        taken.append(1000 * (time.perf_counter() - began))
    await user.close()
    return taken, bytes_written(stack) - before


def bytes_written(stack: Stack) -> float:
    return float(stack.rows(WRITTEN)[0][0])


async def resume(alice: Person, bob: Person, thread: str) -> float:
    """Milliseconds from bob's approval of a refund on the thread to the first token after it."""
    path = f"/threads/{thread}/"
    cursor = CURSOR.search(alice.get(path))
    url = f"{alice.base.replace('http', 'ws')}/ws{path}?after={cursor.group(1) if cursor else ''}"
    headers = {"Cookie": alice.cookie_header(), "Origin": alice.base}
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        await asyncio.to_thread(alice.post, f"{path}messages/", text="refund 0.01 of order 1042")
        seconds = await resumed(socket, bob)
        while not re.search(r'data-status=\\"idle', str(await asyncio.wait_for(socket.recv(), 15))):
            pass
    return 1000 * seconds


def line(measured: Measured) -> str:
    cells = [
        f"{measured.length:,}",
        measured.channel,
        " / ".join(f"{value:.0f}" for value in percentiles(measured.turns)),
        middle(measured.runs),
        f"{measured.written / 1000:,.1f}",
        middle(measured.resumes),
        middle(measured.resumed_runs),
        middle(measured.travels.looks),
        middle(measured.travels.forks),
        middle(measured.forked_runs),
        f"{measured.forked_written / 1000:,.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):.0f}" if values else ""
