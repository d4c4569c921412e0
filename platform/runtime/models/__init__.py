"""The rows that hold the truth, each with its own state machine.

A state changes in one place, by a conditional UPDATE: of two who try, one wins and the other is told.
Times are the database's (`Now()` is PostgreSQL's clock), so no process's clock can end a lease early.

Assistants, tool calls, runs and threads import each other in that order; what points the other way is named by
string.
"""

from runtime.audit.models import AuditEvent
from runtime.models.assistants import Assistant, AssistantVersion, assistant_id_for
from runtime.models.budgets import Budget, ModelPrice, Period, Reservation, Spending
from runtime.models.crons import Cron, CronTurn
from runtime.models.request_keys import RequestKey
from runtime.models.run_webhooks import RunWebhook, RunWebhookAttempt, WebhookStatus
from runtime.models.runs import ACTIVE, Run, RunQueue, RunStatus
from runtime.models.states import ThreadState
from runtime.models.store_items import StoreItem
from runtime.models.threads import Message, Role, Thread, message_key
from runtime.models.tool_calls import (
    HOLDS_INPUT,
    TOOL_TRANSITIONS,
    UNSETTLED,
    CallKind,
    Effect,
    ToolCall,
    ToolState,
)

__all__ = [
    "ACTIVE",
    "HOLDS_INPUT",
    "TOOL_TRANSITIONS",
    "UNSETTLED",
    "Assistant",
    "AssistantVersion",
    "AuditEvent",
    "Budget",
    "CallKind",
    "Cron",
    "CronTurn",
    "Effect",
    "Message",
    "ModelPrice",
    "Period",
    "RequestKey",
    "Reservation",
    "Role",
    "Run",
    "RunQueue",
    "RunStatus",
    "RunWebhook",
    "RunWebhookAttempt",
    "Spending",
    "StoreItem",
    "Thread",
    "ThreadState",
    "ToolCall",
    "ToolState",
    "WebhookStatus",
    "assistant_id_for",
    "message_key",
]
