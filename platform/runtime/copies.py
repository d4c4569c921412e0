"""A second thread with the history of a first, for the same person. What was decided in the first is not copied."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from psycopg import sql

from runtime import audit
from runtime.exceptions import ThreadBusy, ThreadWaiting
from runtime.models import ACTIVE, HOLDS_INPUT, UNSETTLED, Message, Run, RunStatus, Thread, ThreadState
from runtime.retention import CHECKPOINT_TABLES

COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = ANY (current_schemas(false)) AND table_name = %s AND column_name <> 'thread_id'
ORDER BY ordinal_position
"""


@transaction.atomic
def copy_thread(thread: Thread) -> Thread:
    """The new thread, at rest where the first rests. Raises ThreadBusy, ThreadWaiting.

    A call that waits is a person's business on one thread: a copy of it would be a second one nobody was asked about.
    """
    thread = Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    if thread.runs.filter(status__in=ACTIVE).exists():
        raise ThreadBusy
    if thread.tool_calls.filter(state__in={*UNSETTLED, *HOLDS_INPUT}).exists():
        raise ThreadWaiting(_("A tool call in this thread waits or is unfinished: it can't be copied now."))
    copy = Thread.objects.create(
        owner_id=thread.owner_id,
        assistant_id=thread.assistant_id,
        title=thread.title,
        metadata=thread.metadata,
    )
    if thread.runs.exists():
        _copy_history(thread, copy)
    _copy_checkpoints(thread, copy)
    audit.append("thread.copied", subject=thread, thread_id=thread.pk, after={"copy": str(copy.pk)})
    return copy


def _copy_history(thread: Thread, copy: Thread) -> None:
    """The messages, on one run that stands for all that was; the state where the first has one up to date."""
    run = Run.objects.create(
        thread=copy,
        assistant_id=copy.assistant_id,
        user_id=copy.owner_id,
        status=RunStatus.SUCCESS,
        options={"stream_mode": []},
        started_at=Now(),
        ended_at=Now(),
        hidden_at=Now(),
    )
    messages = list(thread.messages.order_by("created_at", "pk"))
    for message in messages:
        message.pk, message.thread, message.run = None, copy, run
    Message.objects.bulk_create(messages)
    last = ThreadState.last_run(thread.pk)
    state = ThreadState.objects.filter(thread=thread, run=last).first() if last else None
    if state is not None:
        state.thread, state.run = copy, run
        for at in (state.checkpoint, state.parent_checkpoint):
            if at:
                at["thread_id"] = str(copy.pk)
        state.save(force_insert=True)


def _copy_checkpoints(thread: Thread, copy: Thread) -> None:
    """LangGraph's rows, whatever columns its release gives them; its workers make the tables."""
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in [table for table in CHECKPOINT_TABLES if table in present]:
            cursor.execute(COLUMNS, [table])
            names = sql.SQL(", ").join(sql.Identifier(row[0]) for row in cursor.fetchall())
            insert = sql.SQL(
                "INSERT INTO {table} (thread_id, {names}) SELECT %s, {names} FROM {table} WHERE thread_id = %s"
            )
            cursor.execute(
                insert.format(table=sql.Identifier(table), names=names), [str(copy.pk), str(thread.pk)]
            )
