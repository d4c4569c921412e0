"""One e-mail to one person about all that is due for them."""

from __future__ import annotations

import smtplib
from email.utils import parseaddr
from uuid import uuid5

from accounts.models import User
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from runtime.webhooks.http import Unsuccessful

from apps.approvals.notifications.models import Delivery, Preference
from apps.approvals.notifications.wording import absolute, notices_of, queue_url

SHOWN = 50  # requests in one e-mail; the queue has the rest


def send(deliveries: list[Delivery]) -> None:
    """Raises Unsuccessful. All of `deliveries` are for the same person."""
    person = deliveries[0].person
    assert person is not None  # noqa: S101  (the database says so)
    with translation.override(language_of(person)):
        message = compose(person, deliveries)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        code = next(iter(error.recipients.values()))[0]
        raise Unsuccessful(
            _("The mail server refuses this address."),
            is_final=code >= 500,  # 4xx is for now only
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise Unsuccessful(_("The mail server: %(why)s") % {"why": type(error).__name__}) from error


def compose(person: User, deliveries: list[Delivery]) -> EmailMultiAlternatives:
    notices = notices_of(deliveries)
    context = {
        "person": person,
        "notices": notices[:SHOWN],
        "more": max(0, len(notices) - SHOWN),
        "is_single": len(notices) == 1,
        "queue_url": queue_url(),
        "preferences_url": absolute(reverse("admin:approvals_preference_mine")),
        "language": translation.get_language(),
    }
    several = _("%(count)d approval requests") % {"count": len(notices)}
    subject = notices[0].headline if len(notices) == 1 else several
    message = EmailMultiAlternatives(
        f"[Countersign] {subject}",
        render_to_string("approvals/notifications/mail.txt", context),
        to=[person.email],
        headers=_headers(deliveries),
    )
    message.attach_alternative(render_to_string("approvals/notifications/mail.html", context), "text/html")
    return message


def _headers(deliveries: list[Delivery]) -> dict[str, str]:
    """The same id for the same content: a mailbox recognises what is sent a second time after a crash."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    same = uuid5(deliveries[0].pk, ",".join(str(each.pk) for each in deliveries))
    return {"Message-ID": f"<{same}@{domain}>", "Auto-Submitted": "auto-generated"}


def language_of(person: User) -> str:
    chosen = Preference.objects.filter(user=person).values_list("language", flat=True).first()
    return chosen or str(settings.LANGUAGE_CODE)
