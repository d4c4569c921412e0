"""One exception for each thing a caller can do something about. The docstring is the message to show."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class RuntimeRefusal(Exception):
    """It was refused."""

    message: Any = _("It was refused.")
    status = 409  # HTTP status a door answers with
    retry_after = 0  # seconds after which it may go better; 0: not by waiting

    def __init__(self, message: Any = None) -> None:
        super().__init__(str(message or self.message))


class ThreadBusy(RuntimeRefusal):
    """The assistant is still answering."""

    message = _("The assistant is still answering. Wait for the end of the answer or press Stop.")


class ThreadWaiting(RuntimeRefusal):
    """A tool call of this thread waits for a decision."""

    message = _(
        "A tool call in this thread waits for a decision. Send your message when it is decided, or withdraw the call."
    )


class AssistantRetired(RuntimeRefusal):
    """Nothing is begun with this assistant any more."""

    message = _("This assistant was retired. What was said can be read; begin a new thread with another one.")


class BadAssistant(RuntimeRefusal):
    """An assistant can't be made, or changed, as it was asked."""

    status = 422


class AssistantExists(RuntimeRefusal):
    """There is an assistant of that id."""


class MessageTooLong(RuntimeRefusal):
    """The message is longer than is allowed."""

    status = 422


class BadRequestKey(RuntimeRefusal):
    """The name that a request gave itself can't be taken, or is another request's."""

    status = 422


class TooManyRuns(RuntimeRefusal):
    """This person has as many turns under way as one person may."""

    status = 429
    retry_after = 5
    message = _("You have too many turns under way. Wait until one of them ends, or stop one.")


class TooManyInBatches(RuntimeRefusal):
    """This person has as many items of batches under way as one person may."""

    status = 429
    retry_after = 30
    message = _(
        "You have too many items of batches under way. Wait until some of them end, or cancel a batch."
    )


class BudgetUsedUp(RuntimeRefusal):
    """What may be spent on model calls in this day or month is spent. The message says whose budget, and until when."""

    status = 429

    def __init__(self, message: Any = None, *, until: datetime | None = None) -> None:
        super().__init__(message)
        if until is not None:
            self.retry_after = max(1, ceil((until - timezone.now()).total_seconds()))


class QueueFull(RuntimeRefusal):
    """More work waits than the workers get done."""

    status = 503
    retry_after = 10
    message = _(
        "There is more to do than the assistants can do now. Nothing was lost: send it again in a moment."
    )


class BadItem(RuntimeRefusal):
    """The store can't hold this, or can't be asked so."""

    status = 422


class StoreFull(RuntimeRefusal):
    """The person's store holds as many items as it may."""


class NothingAsked(RuntimeRefusal):
    """Nobody was asked about this tool call."""

    status = 404
    message = _("No approval was asked for this tool call.")


class DecisionRefused(RuntimeRefusal):
    """This person may not decide on this tool call."""

    status = 403
    message = _("You may not decide on this tool call.")


class InvalidDecision(RuntimeRefusal):
    """The decision can't be carried out as it was given."""

    status = 422


class AlreadyDecided(RuntimeRefusal):
    """Somebody else decided first."""

    status = 409


class NoWorker(RuntimeRefusal):
    """Only a worker knows the answer, and none gave it in time."""

    status = 503
    retry_after = 5
    message = _("No worker answered in time. Nothing was changed: try again in a moment.")


class CallRefused(RuntimeRefusal):
    """A worker was asked, and says why not."""

    def __init__(self, message: Any = None, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


class LeaseLost(Exception):
    """Another attempt owns the run: stop at once and write nothing more."""

    def __init__(self, *, run_id: UUID) -> None:
        super().__init__(f"run {run_id} is owned by another attempt")


class ModelAnswerIncomplete(Exception):
    """The model's answer was cut off, so nothing it asked for may run."""


class LimitReached(Exception):
    """A turn used more than it may. The message says of what."""


class NoPrice(Exception):
    """There is a budget, and nobody said what the model costs."""


class Unanswerable(Exception):
    """A graph asked, and takes no word for "nobody said yes". The message says what was asked and what became of it."""


class GraphNotFound(Exception):
    """No graph is registered under that id."""


class HasBreakpoints(Exception):
    """A graph was compiled to stop before or after a node, where nobody would be asked anything."""


class UngatedTool(Exception):
    """A graph would call a tool past the gateway."""
