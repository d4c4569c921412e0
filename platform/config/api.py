"""`/api/v1`: each part of the product brings its router, and they are mounted here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from accounts.api import router as auth
from accounts.callers import CallerAuth, caller_of, refused
from accounts.exceptions import Refusal, Unauthenticated
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Swagger
from runtime.exceptions import RuntimeRefusal

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


@api.exception_handler(Refusal)
def answer_refusal(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return refused(refusal)


@api.exception_handler(RuntimeRefusal)
def answer_runtime_refusal(request: HttpRequest, refusal: RuntimeRefusal) -> HttpResponse:
    response = JsonResponse({"detail": str(refusal)}, status=refusal.status)
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response
