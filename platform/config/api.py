"""`/api/v1`: each part of the product brings its router, and they are mounted here."""

from __future__ import annotations

from collections.abc import Callable
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
from runtime.exceptions import RuntimeRefusal

from apps.chat.api.routers import router as chat

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


api = NinjaAPI(
    title="Countersign",
    version=VERSION,
    description="Everything a page can do, for programs. Who calls is known by a key, a token or a session.",
    auth=CallerAuth(),
    docs=Swagger(settings={"persistAuthorization": False, "tryItOutEnabled": True}),
    docs_decorator=known_callers_only,
)
api.add_router("/auth", auth)
api.add_router("", chat)


@api.exception_handler(Refusal)
def answer_refusal(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return refused(refusal)


@api.exception_handler(RuntimeRefusal)
def answer_runtime_refusal(request: HttpRequest, refusal: RuntimeRefusal) -> HttpResponse:
    response = JsonResponse({"detail": str(refusal)}, status=refusal.status)
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response


@api.exception_handler(Http404)
def answer_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _told(_("There is no such thing, or it is not yours."), 404)


@api.exception_handler(ValidationError)
def answer_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """As one text, like every other refusal: which field, and what is wrong with it."""
    return _told("; ".join(f"{_field(each['loc'])}: {each['msg']}" for each in error.errors), 422)


def _field(loc: tuple[Any, ...]) -> str:
    """Of ("body", "given", "name") the name; what stands before it is ours."""
    inner = loc[2:] if loc[0] == "body" else loc[1:]
    return ".".join(map(str, inner)) or "body"


@api.exception_handler(RequestDataTooBig)
def answer_too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return _told(_("The body is too large."), 413)


@api.exception_handler(HttpError)
def answer_unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """django-ninja's own errors; of a body that could not be read it keeps why as the cause."""
    why = error.__cause__
    if isinstance(why, ValueError | RecursionError):
        return _told(_("The body can't be read: %(why)s") % {"why": why}, 422)
    return _told(str(error), error.status_code)


def _told(detail: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=status)
