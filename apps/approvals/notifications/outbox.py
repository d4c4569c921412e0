"""What is to be told goes into rows, in the transaction of what happened; Redis only says that there is work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from accounts import roles
from accounts.models import User
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Count, Q
from runtime import database, jobs

from apps.approvals.models import ApprovalRequest, Delegation, Way
from apps.approvals.notifications.models import (
    Channel,
    Delivery,
    DeliveryStatus,
    GroupPreference,
    Kind,
    Preference,
    WebhookEndpoint,
    Wish,
)
from apps.approvals.permissions import BREAK_GLASS, with_right

PERFORM = "apps.approvals.notifications.delivery.perform"
AT_ONCE_A_MINUTE = 5  # messages to one recipient; what exceeds them is collected until the minute is over
DUE_AT_ONE_LOOK = 500  # the next comes in seconds
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


def announce(request: ApprovalRequest, kind: str, *, group: Group | None = None) -> int:
    """Writes what is to be told about `request`, and to whom: how many deliveries that are.

    To be called inside the transaction of what happened, once for each time it happens. `kind` is one of `Kind`.
    `group`: whose members are told, when they are not the request's approvers. Of a decision only those learn who
    were told of the request.
    """
    kind = Kind(kind)
    group = group or request.approvers
    outbox = _Outbox(request, kind, database.now())
    if kind == Kind.DECIDED:
        outbox.add_people(_already_told(request), group)
    elif kind == Kind.STRANDED:
        outbox.add_people(_helpers(), group)
    else:
        outbox.add_people(_deciders(request, group), group)
    outbox.add_endpoints(group)
    return outbox.post()


def tells_of_decisions() -> bool:
    """Whether anybody wants to hear of them at all: in one round trip, since a turn waits for it."""
    digests = {"mode": Wish.Mode.DIGEST, "events__contains": [Kind.DECIDED]}
    people = Preference.objects.filter(**digests).values("pk")
    groups = GroupPreference.objects.filter(**digests).values("pk")
    endpoints = WebhookEndpoint.objects.filter(is_enabled=True, events__contains=[Kind.DECIDED]).values("pk")
    return people.union(groups, endpoints, all=True).order_by()[:1].exists()


@dataclass
class _Outbox:
    request: ApprovalRequest
    kind: Kind
    now: datetime
    rows: list[Delivery] = field(default_factory=list)

    def add_people(self, people: Iterable[User], group: Group | None) -> None:
        wanted = [(person, wish) for person, wish in _wishes(people, group) if self._is_wanted(wish)]
        at_once = [person.pk for person, wish in wanted if wish.mode == Wish.Mode.AT_ONCE]
        busy = self._told_lately("person", at_once)
        for person, wish in wanted:
            due = self._due(wish, is_busy=person.pk in busy)
            self._add(channel=Channel.EMAIL, person=person, due_at=due)

    def add_endpoints(self, group: Group | None) -> None:
        theirs = Q(group__isnull=True) | Q(group=group)
        rows = WebhookEndpoint.objects.filter(theirs, is_enabled=True, events__contains=[self.kind])
        endpoints = list(rows)
        busy = self._told_lately("endpoint", [each.pk for each in endpoints if each.is_chat])
        for endpoint in endpoints:
            due = _minute_after(self.now) if endpoint.pk in busy else self.now
            self._add(channel=Channel.WEBHOOK, endpoint=endpoint, due_at=due)

    def post(self) -> int:
        """Two that notice the same deadline at once: the second one's rows are there already."""
        once = self.kind in (Kind.OPENED, Kind.EXPIRING, Kind.EXPIRED)
        Delivery.objects.bulk_create(self.rows, ignore_conflicts=once)
        due = [row.pk for row in self.rows if row.due_at <= self.now]
        if due:
            transaction.on_commit(partial(enqueue, due))
        return len(self.rows)

    def _add(self, **fields: object) -> None:
        self.rows.append(Delivery(kind=self.kind, request=self.request, **fields))

    def _is_wanted(self, wish: Wish) -> bool:
        if self.kind in (Kind.BREAK_GLASS, Kind.STRANDED):
            return True
        if wish.mode == Wish.Mode.NONE or self.kind not in wish.events:
            return False
        return self.kind != Kind.DECIDED or wish.mode == Wish.Mode.DIGEST

    def _due(self, wish: Wish, *, is_busy: bool) -> datetime:
        if wish.mode == Wish.Mode.DIGEST:
            return _next_round(self.now, wish.every)
        return _minute_after(self.now) if is_busy else self.now

    def _told_lately(self, recipient: str, ids: list[int]) -> set[int]:
        """Recipients who have had all the single messages of this minute."""
        if not ids:
            return set()
        lately = Delivery.objects.filter(
            **{f"{recipient}__in": ids}, created_at__gt=self.now - timedelta(minutes=1)
        ).exclude(status=DeliveryStatus.SKIPPED)
        counts = lately.order_by().values(recipient).annotate(count=Count("pk"))
        busy = counts.filter(count__gte=AT_ONCE_A_MINUTE)
        return set(busy.values_list(recipient, flat=True))


def _deciders(request: ApprovalRequest, group: Group | None) -> list[User]:
    """Who may decide: those who are asked, and in the place of who is away their delegate."""
    able = with_right().exclude(pk=request.tool_call.user_id)
    named = request.version.content["people"] if request.version and not request.escalated_at else []
    asked = Q(pk__in=named)
    if group:
        asked |= Q(groups=group)
    if request.via == Way.BREAK_GLASS:  # never in silence, whoever was asked
        asked |= Q(is_superuser=True)
    # One after the other: PostgreSQL would plan the whole as one for longer than these three take.
    people = {each.pk: each for each in able.filter(asked).distinct()}
    given = Delegation.objects.now().filter(delegator__in=people).values_list("delegator", "delegate")
    away, instead = {delegator for delegator, _ in given}, {delegate for _, delegate in given}
    present = [each for each in people.values() if each.pk not in away]
    delegates = able.filter(pk__in=instead) if instead else []
    found = {each.pk: each for each in [*present, *delegates] if each.email}
    return [found[pk] for pk in sorted(found)]


def _helpers() -> list[User]:
    """Who can help where nobody could decide: operators, and those who may override who decides."""
    may_override = User.objects.with_perm(BREAK_GLASS, backend=MODEL_BACKEND)
    operators = User.objects.filter(groups__name=roles.OPERATORS, is_active=True)
    either = Q(pk__in=may_override.values("pk")) | Q(pk__in=operators.values("pk"))
    return list(User.objects.filter(either).exclude(email="").order_by("pk"))


def _already_told(request: ApprovalRequest) -> list[User]:
    told = Delivery.objects.filter(request=request, status=DeliveryStatus.SENT, person__isnull=False)
    people = User.objects.filter(pk__in=told.values("person"), is_active=True).exclude(email="")
    by = request.decided_by
    return list((people.exclude(pk=by.pk) if by else people).order_by("pk"))


def _wishes(people: Iterable[User], group: Group | None) -> list[tuple[User, Wish]]:
    """A person's own choice, else their group's, else all of it at once."""
    people = list(people)
    if not people:
        return []
    own = {choice.user_id: choice for choice in Preference.objects.filter(user__in=people)}
    default: Wish = GroupPreference.objects.filter(group=group).first() or GroupPreference()
    return [(person, own.get(person.pk, default)) for person in people]


def _next_round(now: datetime, minutes: int) -> datetime:
    """The same moment for all that comes in between, so that it is told together."""
    length = minutes * 60
    return datetime.fromtimestamp((int(now.timestamp()) // length + 1) * length, UTC)


def _minute_after(now: datetime) -> datetime:
    return _next_round(now, 1)


def enqueue(delivery_ids: Iterable[UUID]) -> None:
    """Wakes a worker for each. What Redis does not take, or loses, `enqueue_due` brings again."""
    jobs.enqueue(PERFORM, [str(pk) for pk in delivery_ids])


def enqueue_due() -> int:
    """Brings to the queue what is due and not in it: first tries, repetitions, digests, all of them."""
    due = Delivery.due().order_by("due_at").values_list("pk", "person", "endpoint__format", "endpoint")
    chosen: dict[object, UUID] = {}
    for pk, person, format_, endpoint in due[:DUE_AT_ONE_LOOK]:
        goes_alone = format_ == WebhookEndpoint.Format.GENERIC
        chosen.setdefault(pk if goes_alone else (person, endpoint), pk)
    missing = jobs.not_queued(PERFORM, [str(pk) for pk in chosen.values()])
    jobs.enqueue(PERFORM, missing)
    return len(missing)
