"""Designs side by side: the same graph, model and users on LangGraph alone, on the product, on FastAPI and Celery."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from benchmarks import graph, model
from benchmarks.load import LoadDied, Measured, Target, measure
from benchmarks.stack import ROOT, Stack, free_port, running, wait_for

BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
STOP_WITHIN = 10.0  # seconds
CROWD = 1000  # pages
GROUPS = ("web", "worker", "PostgreSQL", "Redis", "model", "load")
HEADINGS = (
    "users",
    "design",
    "first token ms p50 / p95",
    "added per token ms p50 / p95",
    "tokens/s",
    "turns/s",
    *(f"{group} CPU ms/turn" for group in GROUPS),
    "CPU % of others",
    "PSS MB web + worker",
    "errors",
)


@contextmanager
def floor(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """LangGraph alone. Its process is the users' too, and counts as the worker."""
    with stack.new_database("bench_floor") as database:
        where = {**endpoint.where, "database": database}
        groups = {"PostgreSQL": stack.processes()["PostgreSQL"], "model": endpoint.pid}
        yield Target("floor", "benchmarks.floor", where, groups, load_group="worker")


@contextmanager
def platform(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """The product: one web process, one worker, a page and its socket for each user."""
    where = {"base": stack.base, "accounts": stack.run("benchmarks.accounts", graph.ID, str(users))}
    yield Target("platform", "benchmarks.product", where, {**stack.processes(), "model": endpoint.pid})


@contextmanager
def sse(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """The product, asked and heard by `/api/v1/chat/stream`: server-sent events of the same request."""
    with platform(stack, endpoint, users) as target:
        yield replace(target, name="sse", users="benchmarks.programs", where={**target.where, "api": "v1"})


@contextmanager
def langgraph(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """The same by the API that LangGraph's clients speak."""
    with sse(stack, endpoint, users) as target:
        yield replace(target, name="langgraph", where={**target.where, "api": "langgraph"})


@contextmanager
def crowd(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """The product, with as many more pages open as make a thousand."""
    people = max(users, CROWD)
    where = {"base": stack.base, "accounts": stack.run("benchmarks.accounts", graph.ID, str(people))}
    yield Target("crowd", "benchmarks.product", where, {**stack.processes(), "model": endpoint.pid})


@contextmanager
def celery(stack: Stack, endpoint: model.Endpoint, users: int) -> Iterator[Target]:
    """FastAPI, a Celery worker of gevent with a slot for each user, a Redis Stream a run, on the same servers."""
    port = free_port()
    with stack.new_database("bench_celery") as database:
        env = {
            **os.environ,
            **endpoint.environment,
            **celery_addresses(stack),
            "BENCH_DATABASE_URL": database,
        }
        design = "benchmarks.celery_design"
        web = ["-m", "uvicorn", f"{design}.web:app", "--port", str(port), "--log-level", "warning"]
        worker = [
            "-W",
            "ignore",
            "-m",
            "celery",
            "-A",
            f"{design}.tasks",
            "worker",
            "-P",
            "gevent",
            "-c",
            str(users),
        ]
        subprocess.run([BENCH_PYTHON, "-c", SET_UP, database], check=True)
        with process(web, env) as web_pid, process([*worker, "-l", "error"], env) as worker_pid:
            groups = {**stack.processes(), "model": endpoint.pid, "web": web_pid, "worker": worker_pid}
            base = f"http://127.0.0.1:{port}"
            wait_for(f"{base}/health")
            yield Target("celery", f"{design}.users", {"base": base}, groups)


SET_UP = """if True:
    import sys
    from langgraph.checkpoint.postgres import PostgresSaver
    with PostgresSaver.from_conn_string(sys.argv[1]) as saver:
        saver.setup()
"""


def celery_addresses(stack: Stack) -> dict[str, str]:
    """Of Redis, as a broker and as a log: the product's own server, two other databases."""
    socket = stack.redis_socket
    return {
        "BENCH_BROKER_URL": f"redis+socket://{socket}?virtual_host=1",
        "BENCH_REDIS_URL": f"unix://{socket}?db=2",
    }


@contextmanager
def process(arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[int]:
    """Runs Python of .venv-bench; yields its pid."""
    with subprocess.Popen(
        [BENCH_PYTHON, *arguments], env=env, cwd=ROOT, stdout=subprocess.DEVNULL
    ) as running:
        try:
            yield running.pid
        finally:
            running.terminate()
            try:
                running.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                running.kill()


Design = Callable[[Stack, model.Endpoint, int], AbstractContextManager[Target]]
DESIGNS: dict[str, Design] = {
    "floor": floor,
    "platform": platform,
    "celery": celery,
    "crowd": crowd,
    "sse": sse,
    "langgraph": langgraph,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=counts, default="1,50,200", help="how many at once, such as 1,50,200")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for which each design is loaded, at least"
    )
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=available())


def available() -> list[str]:
    """Those to compare; celery's where `make bench` has made the environment it needs."""
    return ["floor", "platform", *(["celery"] if BENCH_PYTHON.exists() else [])]


def counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def run(*, users: Sequence[int], seconds: float, designs: Sequence[str]) -> None:
    """Design after design for each number of users, so that what disturbs the machine disturbs all alike."""
    with (
        model.running() as endpoint,
        running(
            **endpoint.environment, COUNTERSIGN_GRAPHS=graph.REGISTERED, COUNTERSIGN_WORKERS="1"
        ) as stack,
    ):
        print(f"{model.TOKENS} tokens a turn, one each {model.PACE:.0f} ms; at least {seconds:.0f} s each\n")
        print_row(HEADINGS)
        print_row(["---:" if heading != "design" else "---" for heading in HEADINGS])
        for count in users:
            for name in designs:
                with DESIGNS[name](stack, endpoint, count) as target:
                    try:
                        print_row(row(measure(target, users=count, seconds=seconds, tokens=model.TOKENS)))
                    except LoadDied as error:
                        print_row([str(count), name, str(error)])


def print_row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def row(measured: Measured) -> list[str]:
    outcome = measured.outcome
    turns = max(outcome.turns, 1)
    cpu = [f"{1000 * measured.cpu[group] / turns:.1f}" if group in measured.cpu else "" for group in GROUPS]
    memory = [
        f"{measured.memory[group] / 1e6:.0f}" for group in ("web", "worker") if group in measured.memory
    ]
    return [
        str(measured.users),
        measured.target,
        " / ".join(f"{value:,.0f}" for value in outcome.first),
        " / ".join(f"{value:,.1f}" for value in outcome.added),
        f"{outcome.tokens / outcome.seconds:,.0f}",
        f"{outcome.turns / outcome.seconds:.1f}",
        *cpu,
        f"{100 * measured.others / outcome.seconds:.0f}",
        " + ".join(memory),
        "; ".join(f"{count} x {what}" for what, count in outcome.errors.items()) or "0",
    ]
