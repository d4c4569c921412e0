"""django-rq's dashboard, every URL of it behind the permission for it."""

from __future__ import annotations

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.urls import URLPattern
from django_rq.urls import get_admin_urlpatterns, get_api_urlpatterns

from apps.observability.access import for_queue_operators

app_name = "django_rq"  # the name its templates reverse

# Its pages come with style blocks and one inline script, named here by its hash: no other inline script runs.
SCRIPT = "'sha256-1kZe1KRxelr3ptMPsod17Z6BDvbtm4WcufgsZGvsErM='"
_with_its_own_assets = csp_update({"script-src": [SCRIPT], "style-src": [UNSAFE_INLINE]})


def _guarded(pattern: URLPattern) -> URLPattern:
    view = _with_its_own_assets(for_queue_operators(pattern.callback))
    return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)


# The JSON and metrics URLs too: on their own they answer to any staff user, and to a token in the path.
urlpatterns = [_guarded(pattern) for pattern in (*get_api_urlpatterns(), *get_admin_urlpatterns())]
