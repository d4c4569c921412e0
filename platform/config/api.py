"""`/api/v1`: each part of the product brings its router, and they are mounted here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from accounts.api import router as auth
from accounts.callers import CallerAuth, caller_of, refused
from accounts.exceptions import Refusal, Unauthenticated
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI, Swagger
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from runtime import strict_json
from runtime.exceptions import RuntimeRefusal

from apps.approvals.api import router as approvals
from apps.chat.api.routers import router as chat
from apps.observability.api import router as audit

VERSION = "1"


def known_callers_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For the documentation: a browser goes to the sign-in page, a program is told."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            caller_of(request)
        except Unauthenticated as refusal:
            if request.path.endswith("/docs"):
                return redirect_to_login(request.get_full_path())
            return refused(refusal)
        return view(request, *args, **kwargs)

    return checked


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        return strict_json.loads(request.body)


api = NinjaAPI(
    title="Countersign",
    version=VERSION,
    description="Everything a page can do, for programs. Who calls is known by a key, a token or a session.",
    auth=CallerAuth(),
    docs=Swagger(settings={"persistAuthorization": False, "tryItOutEnabled": True}),
    docs_decorator=known_callers_only,
    parser=StrictParser(),
)
api.add_router("/auth", auth)
api.add_router("", chat)
api.add_router("/approvals", approvals)
api.add_router("/audit", audit)


@api.exception_handler(Refusal)
def answer_refusal(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return refused(refusal)


@api.exception_handler(RuntimeRefusal)
def answer_runtime_refusal(request: HttpRequest, refusal: RuntimeRefusal) -> HttpResponse:
    response = JsonResponse({"detail": str(refusal)}, status=refusal.status)
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response


@api.exception_handler(ValidationError)
def answer_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Which field, and what is wrong with it; never what was sent, which may be a password."""
    return told("; ".join(f"{_name(each['loc'])}: {each['msg']}" for each in error.errors), 422)


def _name(loc: Sequence[str | int]) -> str:
    """Of the field, without where it came (body, query) and in which of the view's arguments."""
    return ".".join(str(part) for part in (loc[2:] or loc[1:] or loc))


@api.exception_handler(HttpError)
def answer_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if error.status_code == 400 and error.__cause__ is not None:  # of the parser
        return told(_("The body can't be read: %(why)s") % {"why": error.__cause__}, 422)
    return told(str(error), error.status_code)


@api.exception_handler(Http404)
def answer_missing(request: HttpRequest, missing: Http404) -> HttpResponse:
    return told(_("There is no such thing, or it is not yours."), 404)


@api.exception_handler(RequestDataTooBig)
def answer_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return told(_("The body is too large."), 413)


def told(detail: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=status)
