"""The documentation says what is so: every setting is listed, every example runs."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import call_command, get_commands
from pytest_django.fixtures import Settings
from runtime.models import Assistant, RunStatus, Thread, ToolState
from runtime.webhooks.signing import signed

from tests.support.engines import EngineOn, take_turn

ROOT = Path(__file__).resolve().parents[1]


def example(page: str) -> str:
    found = re.search(
        r"^( *)```python\n(.*?)^\1```", (ROOT / "docs/howto" / page).read_text(), re.DOTALL | re.M
    )
    assert found
    return textwrap.dedent(found.group(2))


def loaded(name: str, source: str, monkeypatch: pytest.MonkeyPatch, **names: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"{name}.py", "exec", dont_inherit=True), vars(module))
    return module


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    sources = [*(ROOT / "platform/config").glob("*.py"), *(ROOT / "platform/embedded").glob("*.py")]
    used = {
        name
        for source in sources
        for name in re.findall(r'"((?:COUNTERSIGN|OPENAI|DATABASE|REDIS)_[A-Z_]+)"', source.read_text())
    }
    internal = {"COUNTERSIGN_POLICY", "COUNTERSIGN_DECISIONS"}

    assert {name for name in used - internal if f"`{name}`" not in page} == set()


def test_every_command_is_documented() -> None:
    ours = {
        name
        for name, app in get_commands().items()
        if app.split(".")[0] in ("accounts", "runtime", "apps", "embedded")
    }
    pages = "".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

    assert {name for name in ours if f"manage.py {name}" not in pages} == set()


def test_no_page_links_to_nothing() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.django_db(transaction=True)
def test_the_tool_of_the_howto_waits_for_a_rule(monkeypatch: pytest.MonkeyPatch, thread: Thread) -> None:
    module = loaded("bank_tools", example("add-a-tool.md"), monkeypatch, bank=None)

    assert module.close_account.name == "close_account"
    assert module.close_account.sensitive
    assert set(module.close_account.args) == {"number", "reason"}


@pytest.mark.django_db(transaction=True)
def test_the_graph_of_the_howto_answers(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, engine_on: EngineOn, alice: object
) -> None:
    loaded("shipping", example("add-a-graph.md"), monkeypatch)
    settings.COUNTERSIGN_GRAPHS = {**settings.COUNTERSIGN_GRAPHS, "shipping": "shipping:build"}

    with engine_on() as engine:
        call_command("add_assistant", "shipping", name="Parcel tracker", verbosity=0)
        assistant = Assistant.objects.get(graph_id="shipping")
        thread = Thread.objects.create(owner=alice, assistant=assistant)
        run = take_turn(engine, thread, 'call track with {"parcel": "A1"}')

    assert run.status == RunStatus.SUCCESS, run.error
    call = thread.tool_calls.get()
    assert (call.tool, call.state, call.result) == ("track", ToolState.DONE, "Parcel A1 is in Lyon.")


def test_the_signature_check_of_the_howto_takes_ours_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    check = loaded("signature", example("notifications.md"), monkeypatch).is_genuine
    body = b'{"event": "opened"}'
    headers = signed(uuid4(), body, "s3cret")
    old = {**headers, "Countersign-Timestamp": str(int(headers["Countersign-Timestamp"]) - 301)}

    assert check(headers, body, "s3cret")
    assert not check(headers, body + b" ", "s3cret")
    assert not check(headers, body, "another")
    assert not check(old, body, "s3cret")
