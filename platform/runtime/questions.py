"""What an interrupt asks, read from its value: actions of LangChain's human-in-the-loop middleware, or a question."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, SchemaError
from langgraph.types import Interrupt
from pydantic import BaseModel

from runtime import ledger
from runtime.models import CallKind, Effect

QUESTION = "interrupt"  # the tool's name by which policy rules speak of questions
DECISIONS = ("approve", "edit", "reject", "respond")
NAME_LIMIT = 100  # characters of an action's name

# What clients of LangGraph's older HumanInterrupt answer with: a list of one.
HUMAN_RESPONSES = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {
        "type": "object",
        "properties": {"type": {"enum": ["accept", "ignore", "response", "edit"]}, "args": {}},
        "required": ["type"],
    },
}

REF = "#/$defs/"

Schema = dict[str, Any]


def proposals(interrupt: Interrupt) -> list[ledger.Proposal]:
    """One for each action in the order it is asked, or one for the question; never none."""
    value = interrupt.value
    if is_single(value):
        schema = interrupt.response_schema
        return [_action(interrupt, 0, value, _from_response(schema if isinstance(schema, dict) else {}))]
    if _is_batch(value):
        takes = {config["action_name"]: config for config in value["review_configs"]}
        asked = value["action_requests"]
        return [_action(interrupt, at, each, takes.get(each["name"], {})) for at, each in enumerate(asked)]
    question = _question(interrupt)
    if _means_actions(value):  # not for the requester to answer, whatever a rule says of the action
        flaw = _("It asks for actions in a form that nobody could review.")
        return [dataclasses.replace(question, flaw=flaw)]
    return [question]


def _means_actions(value: Any) -> bool:
    return isinstance(value, dict) and ("action_requests" in value or value.get("type") == "tool_approval")


def is_single(value: Any) -> bool:
    """One action in an interrupt of its own, which takes one decision and not a list of them."""
    return isinstance(value, dict) and value.get("type") == "tool_approval" and _is_action(value)


def _is_batch(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    asked, configs = value.get("action_requests"), value.get("review_configs")
    if not isinstance(asked, list) or not isinstance(configs, list) or not asked:
        return False
    are_configs = all(
        isinstance(config, dict) and isinstance(config.get("action_name"), str) for config in configs
    )
    return are_configs and all(_is_action(each) for each in asked)


def _is_action(value: Any) -> bool:
    """Named so that a policy rule can be about it."""
    is_named = isinstance(value, dict) and isinstance(value.get("name"), str)
    return is_named and 0 < len(value["name"]) <= NAME_LIMIT and isinstance(value.get("args"), dict)


def _action(interrupt: Interrupt, at: int, asked: Schema, config: Schema) -> ledger.Proposal:
    args, flaw = _shown(asked["args"])
    schema = config.get("args_schema")
    takes = config.get("allowed_decisions")
    return ledger.Proposal(
        task_id=interrupt.id,
        call_id=str(at),
        tool=asked["name"],
        args=args,
        args_schema=schema if isinstance(schema, dict) and is_usable(schema) else _like(args),
        sensitive=True,
        effect=Effect.ONCE,
        why=ledger.kept(str(asked.get("description") or "")),
        kind=CallKind.ACTION,
        position=at,
        takes=_known(takes) or ("approve", "reject"),
        flaw=flaw,
    )


def _known(takes: Any) -> tuple[str, ...]:
    return tuple(kind for kind in DECISIONS if isinstance(takes, list) and kind in takes)


def _shown(args: Schema) -> tuple[Schema, str]:
    """The arguments as JSON. Approved are the graph's own: what can't be shown exactly is not asked about."""
    plain = as_json(args)
    if not isinstance(plain, dict) or len(json.dumps(plain)) > ledger.RESULT_LIMIT:
        return {}, _("Its arguments are too large, or no JSON: nobody could review them.")
    return plain, "" if plain == args else _(
        "Its arguments can't be shown exactly: nobody could review them."
    )


def _like(args: Schema) -> Schema:
    """A schema for edits where the graph gave none: the same arguments, each of its kind."""
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number"}
    properties = {
        name: {"type": kinds[type(value)]} if type(value) in kinds else {} for name, value in args.items()
    }
    return {"type": "object", "properties": properties, "required": list(args)}


def _from_response(schema: Schema) -> Schema:
    """A review config from what an interrupt takes for an answer: one branch for each kind of decision."""
    options = schema.get("oneOf") or [schema]
    branches = [_resolved(option, schema) for option in options]
    by_kind = {_of(branch, "properties", "type", "const"): branch for branch in branches}
    edited = _resolved(_of(by_kind.get("edit"), "properties", "edited_action"), schema)
    args = _resolved(_of(edited, "properties", "args"), schema)
    config: Schema = {"allowed_decisions": [kind for kind in by_kind if isinstance(kind, str)]}
    return {**config, "args_schema": {**args, "$defs": schema.get("$defs", {})}} if args else config


def _of(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _resolved(schema: Any, root: Schema) -> Schema:
    """The schema behind a reference."""
    if not isinstance(schema, dict):
        return {}
    name = str(schema.get("$ref", "")).removeprefix(REF)
    found = root.get("$defs", {}).get(name, schema)
    return found if isinstance(found, dict) else {}


def _question(interrupt: Interrupt) -> ledger.Proposal:
    value = as_json(interrupt.value)
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > ledger.RESULT_LIMIT:
        value = ledger.kept(text)
    schema = interrupt.response_schema or _of(interrupt.value, "response_schema")
    if not schema and _is_human_interrupt(interrupt.value):
        schema = HUMAN_RESPONSES
    return ledger.Proposal(
        task_id=interrupt.id,
        call_id="0",
        tool=QUESTION,
        args=value if isinstance(value, dict) else {"question": value},
        args_schema=schema if isinstance(schema, dict) and is_usable(schema) else {},
        sensitive=True,
        effect=Effect.NONE,
        why="",
        kind=CallKind.QUESTION,
        takes=("respond", "reject"),
    )


def _is_human_interrupt(value: Any) -> bool:
    """LangGraph's older form, alone or in a list: asked by the graph about an action of its own."""
    asked = value[0] if isinstance(value, list) and len(value) == 1 else value
    return isinstance(asked, dict) and isinstance(asked.get("action_request"), dict) and "config" in asked


def is_usable(schema: Schema) -> bool:
    """A JSON schema that is whole in itself: one that refers elsewhere would be fetched from there."""
    try:
        Draft202012Validator.check_schema(schema)
        size = len(json.dumps(schema, allow_nan=False))
    except (SchemaError, TypeError, ValueError, RecursionError):
        return False
    return size <= ledger.RESULT_LIMIT and _refers_within(schema, schema.get("$defs", {}))


def _refers_within(schema: Any, known: Schema) -> bool:
    if isinstance(schema, list):
        return all(_refers_within(item, known) for item in schema)
    if not isinstance(schema, dict):
        return True
    refers = [schema[name] for name in ("$ref", "$dynamicRef") if isinstance(schema.get(name), str)]
    are_known = all(ref.startswith(REF) and ref.removeprefix(REF) in known for ref in refers)
    is_named = isinstance(schema.get("$id"), str)  # which would move what it refers to
    return are_known and not is_named and all(_refers_within(item, known) for item in schema.values())


def as_json(value: Any) -> Any:
    """The value as JSON that PostgreSQL can hold; what is none, as text."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=_as_plain)
        return _storable(json.loads(text, parse_constant=str))
    except (TypeError, ValueError, RecursionError):
        return ledger.kept(repr(value))


def _as_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return ledger.storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {ledger.storable(name): _storable(item) for name, item in value.items()}
    return value
