"""What every route has in common: who calls, what came in the body, and how a refusal looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from accounts.callers import Caller, caller_of, refused
from accounts.exceptions import Refusal
from accounts.models import User
from accounts.scopes import Scope
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError
from runtime import strict_json
from runtime.exceptions import RuntimeRefusal, ThreadBusy

Body = TypeVar("Body", bound=BaseModel)
View = Callable[..., HttpResponseBase]

MINIMAL = "return=minimal"
_SCOPES = "_scopes"  # where a view keeps for whom it is

# What clients look for in the text of a refusal.
BUSY = "Thread is already running a task."


class Problem(Exception):
    """The request can't be done as it came."""

    def __init__(self, message: Any, status: int = 422) -> None:
        super().__init__(str(message))
        self.status = status


class ApiRequest(HttpRequest):
    """A request of somebody who may what its view is for."""

    user: User


def route(**views: View) -> View:
    """One path: a view for each method. Whoever is nobody learns nothing, not even which methods there are."""

    @csrf_exempt  # the door asks those for the token who come with a session
    def answer(request: ApiRequest, **where: str) -> HttpResponseBase:
        try:
            view = views.get(request.method or "")
            _let_in(request, *([view] if view else views.values()))
            if view is None:
                return told(_("This address takes %(methods)s.") % {"methods": ", ".join(views)}, 405)
            return view(request, **{name: _id(name, text) for name, text in where.items()})
        except Refusal as refusal:
            return refused(refusal)
        except RuntimeRefusal as refusal:
            return _refused_by_runtime(refusal)
        except Problem as problem:
            return told(str(problem), problem.status)
        except Http404:
            return told(_("There is no such thing, or it is not yours."), 404)
        except RequestDataTooBig:
            return told(_("The body is too large."), 413)

    return answer


def open_to(*scopes: Scope) -> Callable[[View], View]:
    """The view is for those who may what any of these stands for. Without this: for those who may chat."""

    def mark(view: View) -> View:
        setattr(view, _SCOPES, scopes)
        return view

    return mark


def _let_in(request: HttpRequest, *views: View) -> None:
    """Raises Refusal for whoever may call none of them."""
    known = caller_of(request)
    scopes = [scope for view in views for scope in getattr(view, _SCOPES, (Scope.CHAT,))]
    if not any(known.may(scope) for scope in scopes):
        known.require(scopes[0])


def told(detail: str, status: int) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=status)


def _refused_by_runtime(refusal: RuntimeRefusal) -> HttpResponse:
    text = f"{BUSY} {refusal}" if isinstance(refusal, ThreadBusy) else str(refusal)
    response = told(text, refusal.status)
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response


def caller(request: HttpRequest) -> Caller:
    return caller_of(request)


def _id(name: str, text: str) -> UUID | str:
    """An assistant may be named by its graph, a checkpoint by whatever made it."""
    return text if name in ("assistant_id", "checkpoint_id", "namespace", "rest") else uuid_of(text)


def uuid_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(_("“%(text)s” is no UUID.") % {"text": text[:100]}) from None


# Bodies


def body_of(request: HttpRequest, kind: type[Body]) -> Body:
    """The body, checked; no body at all is an empty one."""
    try:
        read = strict_json.loads(request.body or b"{}")
        return kind.model_validate({} if read is None else read)
    except ValidationError as error:
        raise Problem(problems_of(error)) from None
    except (ValueError, RecursionError) as error:
        raise Problem(_("The body can't be read: %(why)s") % {"why": error}) from None


def problems_of(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())


# Answers


def answered(value: Any, **headers: str) -> JsonResponse:
    return JsonResponse(value, safe=False, headers=headers)


def nothing(status: int = 204) -> HttpResponse:
    return HttpResponse(status=status)


def selected(rows: list[dict[str, Any]], select: list[str] | None) -> list[dict[str, Any]]:
    """Of each row the fields that were asked for."""
    if select is None:
        return rows
    if rows and (unknown := set(select) - rows[0].keys()):
        raise Problem(_("There is no field %(names)s.") % {"names": ", ".join(sorted(unknown))})
    return [{name: row[name] for name in select} for row in rows]


def paged(rows: list[dict[str, Any]], *, total: int, offset: int) -> JsonResponse:
    headers = {"X-Pagination-Total": str(total)}
    if offset + len(rows) < total:
        headers["X-Pagination-Next"] = str(offset + len(rows))
    return answered(rows, **headers)


def number(request: HttpRequest, name: str, default: int, *, most: int) -> int:
    """A number of the query, from 0 to `most`."""
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
        raise Problem(_("%(name)s: a number from 0 to %(most)s.") % {"name": name, "most": most})
    return int(text)


def flag(request: HttpRequest, name: str) -> bool:
    return request.GET.get(name, "").lower() in ("1", "true")
