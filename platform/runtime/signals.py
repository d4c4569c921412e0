"""What happened, told inside the transaction that wrote it. Sent with `send`: a receiver's error undoes it."""

from __future__ import annotations

from django.dispatch import Signal

run_changed = Signal()  # run: Run, after create, end or stop
message_added = Signal()  # message: Message
reconciling = Signal()  # nothing: every 2 s, in every worker, outside a transaction; for rows with a deadline
tool_call_changed = Signal()  # tool_call: ToolCall, after every change of its state
