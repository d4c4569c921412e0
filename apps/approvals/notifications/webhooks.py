"""What each kind of endpoint wants to be sent, and how it says that it took it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _
from runtime import seal
from runtime.webhooks import http
from runtime.webhooks.http import Unsuccessful
from runtime.webhooks.signing import signed

from apps.approvals.notifications.models import Delivery, WebhookEndpoint
from apps.approvals.notifications.wording import Notice, notices_of, queue_url

Format = WebhookEndpoint.Format

SHOWN = 10  # requests in one message of a chat


def send(deliveries: list[Delivery]) -> int:
    """The HTTP status. Raises Unsuccessful. Several at once only for chats."""
    endpoint = deliveries[0].endpoint
    assert endpoint is not None  # noqa: S101  (the database says so)
    try:
        secret = endpoint.secret
    except seal.Unreadable as problem:
        raise Unsuccessful(str(problem), is_final=True) from problem
    if endpoint.format == Format.GENERIC:
        body = encoded(payload(deliveries[0]))
        return http.post(endpoint.url, body, signed(deliveries[0].pk, body, secret))[0]
    with translation.override(settings.LANGUAGE_CODE):
        url, message = _FORMATS[endpoint.format](endpoint.url, secret, text_of(deliveries))
    status, answer = http.post(url, encoded(message), {})
    _check_answer(endpoint.format, status, answer)
    return status


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def payload(delivery: Delivery) -> dict[str, Any]:
    """What docs/howto/notifications.md describes."""
    about = {"id": str(delivery.pk), "event": delivery.kind, "created_at": delivery.created_at.isoformat()}
    notices = notices_of([delivery])
    return {**about, "request": _facts(notices[0]) if notices else None}


def _facts(notice: Notice) -> dict[str, Any]:
    request, call = notice.request, notice.request.tool_call
    return {
        "id": str(request.pk),
        "question": request.question,
        "status": request.status,
        "tool": call.tool,
        "arguments": dict(notice.arguments),
        "requester": call.user.get_username(),
        "assistant": call.assistant.name,
        "group": request.approvers.name if request.approvers else None,
        "asked_at": request.created_at.isoformat(),
        "expires_at": request.expires_at.isoformat() if request.expires_at else None,
        "url": notice.url,
    }


def text_of(deliveries: list[Delivery]) -> str:
    notices = notices_of(deliveries)
    if not notices:
        return _("Countersign: a test. Approval requests will be announced here.")
    if len(notices) == 1:
        return "\n".join(_lines(notices[0]))
    heads = [f"• {notice.headline}: {notice.url}" for notice in notices[:SHOWN]]
    title = _("%(count)d approval requests") % {"count": len(notices)}
    return "\n".join([title, *heads, queue_url()])


def _lines(notice: Notice) -> list[str]:
    lines = [notice.headline, *(f"{name}: {value}" for name, value in notice.arguments)]
    lines.append(_("Since %(when)s") % {"when": notice.since})
    if notice.until:
        lines.append(_("Until %(when)s") % {"when": notice.until})
    return [*lines, notice.url]


def _slack(url: str, secret: str, text: str) -> tuple[str, dict[str, Any]]:
    """Slack reads `<!channel>` and links out of a text unless these three are escaped."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    return url, {"text": text, "unfurl_links": False}


def _dingtalk(url: str, secret: str, text: str) -> tuple[str, dict[str, Any]]:
    message = {"msgtype": "text", "text": {"content": text}}
    if not secret:
        return url, message
    timestamp = str(int(time.time() * 1000))
    sign = _base64_hmac(secret, f"{timestamp}\n{secret}")
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{urlencode({'timestamp': timestamp, 'sign': sign})}", message


def _feishu(url: str, secret: str, text: str) -> tuple[str, dict[str, Any]]:
    """Feishu reads `<at user_id="all">` out of a text and has no escape for it."""
    message: dict[str, Any] = {"msg_type": "text", "content": {"text": text.replace("<", "‹")}}
    if secret:
        timestamp = str(int(time.time()))
        # Their own way: what is signed is the key, and the message is empty.
        message = {"timestamp": timestamp, "sign": _base64_hmac(f"{timestamp}\n{secret}", ""), **message}
    return url, message


def _base64_hmac(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


_FORMATS = {Format.SLACK.value: _slack, Format.DINGTALK.value: _dingtalk, Format.FEISHU.value: _feishu}
_CODES = {Format.DINGTALK.value: "errcode", Format.FEISHU.value: "code"}


def _check_answer(format_: str, status: int, answer: bytes) -> None:
    """DingTalk and Feishu answer 200 to what they refuse; the code in the answer says so."""
    if format_ not in _CODES:
        return
    try:
        told = json.loads(answer)
        code = told.get(_CODES[format_], told.get("StatusCode"))
    except (ValueError, AttributeError) as error:
        raise Unsuccessful(_("Its answer can't be read."), status=status) from error
    if code != 0:
        raise Unsuccessful(_("It refuses the message: code %(code)s.") % {"code": code}, status=status)
