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

CHANNELS = {"plain": graph.PLAIN_SHOP_ID, "delta": "shop"}
LENGTHS = (10, 100, 1000)
# Before compression: what the worker serializes and sends.
WRITTEN = """SELECT
    (SELECT coalesce(sum(octet_length(checkpoint::text) + octet_length(metadata::text)), 0) FROM checkpoints)
    + (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_blobs)
    + (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes)"""
NEWEST_RUNS = """SELECT 1000 * extract(epoch FROM ended_at - started_at) FROM runtime_run
    WHERE thread_id = %s ORDER BY created_at DESC LIMIT %s"""


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
            f"{turns} turns and {resumes} approvals on each thread, milliseconds, a model that answers at once\n"
        )
        print(
            "| messages | channel | turn p50 / p95 | in the worker p50 | checkpoints kB/turn | resumed p50 |"
        )
        print("| ---: | --- | ---: | ---: | ---: | ---: |")
        for length in LENGTHS:
            for channel, graph_id in CHANNELS.items():
                thread = stack.run("benchmarks.history", "alice", graph_id, str(length))
                taken, written = asyncio.run(take(stack, alice, thread, turns))
                runs = [float(ms) for (ms,) in stack.rows(NEWEST_RUNS, UUID(thread), turns)]
                waited = [asyncio.run(resume(alice, bob, thread)) for _ in range(resumes)]
                print(line(Measured(length, channel, taken, runs, written / turns, waited)), flush=True)


async def take(stack: Stack, alice: Person, thread: str, turns: int) -> tuple[list[float], float]:
    """Milliseconds of each turn, and the bytes of checkpoints that all of them wrote."""
    account: Account = {"session": alice.cookie("sessionid"), "key": "", "thread": thread}
    user = PageUser(stack.base, account)
    await user.open()
    await user.take(Turn())  # the worker builds its graph
    before = written(stack)
    taken = []
    for _ in range(turns):
        began = time.perf_counter()
        await user.take(Turn())
        taken.append(1000 * (time.perf_counter() - began))
    await user.close()
    return taken, written(stack) - before


def written(stack: Stack) -> float:
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
        f"{statistics.median(measured.runs):.0f}",
        f"{measured.written / 1000:,.1f}",
        f"{statistics.median(measured.resumes):.0f}" if measured.resumes else "",
    ]
    return f"| {' | '.join(cells)} |"
