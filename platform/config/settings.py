"""Settings, all of them from the environment. docs/reference/settings.md lists every one."""

from __future__ import annotations

from pathlib import Path

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from embedded import paths

from config import env

BASE_DIR = Path(__file__).resolve().parents[2]
HOME = Path(env.text("COUNTERSIGN_HOME") or BASE_DIR / ".countersign").absolute()

# --- what it is -------------------------------------------------------------------------------------------

DEBUG = env.boolean("COUNTERSIGN_DEBUG", False)
EMBEDDED = not env.text("DATABASE_URL")
SECRET_KEY = env.text("COUNTERSIGN_SECRET_KEY") or (paths.secret_key(HOME) if EMBEDDED else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("COUNTERSIGN_SECRET_KEY is needed with DATABASE_URL. Set a long random value.")

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.names("COUNTERSIGN_ALLOWED_HOSTS", LOOPBACK)
if DEBUG and not set(ALLOWED_HOSTS) <= set(LOOPBACK):
    raise ImproperlyConfigured(
        "COUNTERSIGN_DEBUG shows code and settings to whoever meets an error: for a machine of one's own only. "
        "Unset it, or COUNTERSIGN_ALLOWED_HOSTS."
    )
CSRF_TRUSTED_ORIGINS = env.names("COUNTERSIGN_TRUSTED_ORIGINS", [])
HTTPS = env.boolean("COUNTERSIGN_HTTPS", False)  # behind a TLS proxy that sets X-Forwarded-Proto

INSTALLED_APPS = [
    "accounts.apps.AdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_prometheus",
    "django_rq",
    "axes",
    "corsheaders",
    "csp",
    "ninja",
    "accounts",
    "runtime",
    "assistants.shop",
    "embedded",
    "apps.approvals",
    "apps.observability",
    "apps.chat",
]

MIDDLEWARE = [
    "config.middleware.true_address",  # first: all that follows believes REMOTE_ADDR
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.refuse_unreadable",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "apps.observability.middleware.request_context",
    "runtime.audit.middleware.audit_origin",
    "axes.middleware.AxesMiddleware",
    "config.rate_limits.rate_limits",
    "config.middleware.say_when_away",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "accounts.context_processors.sign_in",
                "embedded.context_processors.demo",
            ],
        },
    }
]

# --- where it keeps things --------------------------------------------------------------------------------

_DATABASE = env.database("DATABASE_URL", paths.database_url(HOME))
DATABASES = {
    "default": {
        **_DATABASE,
        "ENGINE": "runtime.postgresql",
        # One left before its end is closed by the garbage collector, which can strike while this very thread holds
        # psycopg's lock: it waits for itself, for ever. What is large is read in pages (`runtime.database.in_pages`).
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {
            **_DATABASE["OPTIONS"],
            "connect_timeout": 5,
            # Threads of the worker and of the web server share these; a wait for one has a bound.
            "pool": {
                "min_size": 1,
                "max_size": env.integer("COUNTERSIGN_DB_POOL", 20, minimum=2),
                "timeout": 10,
            },
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL") or paths.redis_url(HOME)
_RQ = {
    "URL": REDIS_URL,
    "DEFAULT_TIMEOUT": 3600,
    "DEFAULT_RESULT_TTL": 60,
    "SERIALIZER": "rq.serializers.JSONSerializer",
}
RQ_QUEUES = {name: dict(_RQ) for name in ("interactive", "batch", "maintenance")}
RQ_SHOW_ADMIN_LINK = False  # its views let any staff user in; apps.observability guards and links them

# --- the engine -------------------------------------------------------------------------------------------

# graph id -> dotted path of a compiled graph, or of a function that returns one.
COUNTERSIGN_GRAPHS = {
    "shop": "assistants.shop.graph:build",
    "analyser": "assistants.analyser.graph:build",
    "writer": "assistants.writer.graph:build",
    **env.mapping("COUNTERSIGN_GRAPHS", {}),
}
# Whose runs tasks of the API are without an assistant: its id, or its graph's. Empty: the writer, else the first.
TASK_ASSISTANT = env.text("COUNTERSIGN_TASK_ASSISTANT")
TASK_GRAPH = "writer"  # the same, where that says nothing and there is one
# Whose runs the API's analyses are: its id, or its graph's.
ANALYSIS_ASSISTANT = env.text("COUNTERSIGN_ANALYSIS_ASSISTANT", "analyser")
# Seconds one step of an analysis may take; and what enriches analyses: an HTTP service that is told the entities.
ANALYSIS_STEP_LIMIT = env.seconds("COUNTERSIGN_ANALYSIS_STEP_LIMIT", 60.0)
ANALYSIS_ENRICH_URL = env.url("COUNTERSIGN_ANALYSIS_ENRICH_URL")
ANALYSIS_ENRICH_TOKEN = env.text("COUNTERSIGN_ANALYSIS_ENRICH_TOKEN")
# Whether a graph may call tools that are neither recorded nor judged.
COUNTERSIGN_ALLOW_UNGATED_TOOLS = env.boolean("COUNTERSIGN_ALLOW_UNGATED_TOOLS", False)
# The ports of runtime: who judges a tool call, and who decides on one that waits.
COUNTERSIGN_POLICY = "apps.approvals.policy"
COUNTERSIGN_DECISIONS = "apps.approvals.decisions"
# Whether a change of a policy rule waits for a second administrator. Off: with one, nothing could be changed.
POLICY_FOUR_EYES = env.boolean("COUNTERSIGN_POLICY_FOUR_EYES", False)
# All that workers of the queue `maintenance` perform.
JOBS = ("apps.approvals.notifications.delivery.perform", "apps.chat.langgraph.webhooks.perform")

OPENAI_BASE_URL = env.url("OPENAI_BASE_URL")
OPENAI_API_KEY = env.text("OPENAI_API_KEY")
OPENAI_MODEL = env.text("OPENAI_MODEL") or "gpt-5-mini"

# Seconds without a heartbeat until a run is taken over.
RUN_LEASE = env.seconds("COUNTERSIGN_RUN_LEASE", 10.0)
RUN_HEARTBEAT = env.seconds("COUNTERSIGN_RUN_HEARTBEAT", 3.0)
if RUN_LEASE < 2 * RUN_HEARTBEAT:
    raise ImproperlyConfigured(
        f"COUNTERSIGN_RUN_LEASE={RUN_LEASE:g} must be at least twice COUNTERSIGN_RUN_HEARTBEAT={RUN_HEARTBEAT:g}: "
        "a living worker would lose its runs."
    )
# Seconds a worker that is told to stop gives its runs to reach the end of a step, before it hands them back.
WORKER_DRAIN = env.seconds("COUNTERSIGN_WORKER_DRAIN", 20.0)
RUN_TIME_LIMIT = env.seconds("COUNTERSIGN_RUN_TIME_LIMIT", 600.0)
RUN_MAX_ATTEMPTS = env.integer("COUNTERSIGN_RUN_MAX_ATTEMPTS", 3, minimum=1)
RUN_STEP_LIMIT = env.integer("COUNTERSIGN_RUN_STEP_LIMIT", 50, minimum=1)
RUN_TOKEN_LIMIT = env.integer("COUNTERSIGN_RUN_TOKEN_LIMIT", 500_000, minimum=1)  # in and out, one run
RUN_TOOL_CALL_LIMIT = env.integer("COUNTERSIGN_RUN_TOOL_CALL_LIMIT", 100, minimum=1)
# What models cost for a million tokens of input, cached input and output, where the admin says nothing.
MODEL_PRICES = env.prices("COUNTERSIGN_MODEL_PRICES")
CURRENCY = env.text("COUNTERSIGN_CURRENCY", "USD")  # of prices and budgets
# Output tokens a call may ask for where a budget has to hold: what it can cost at most is reserved before.
MODEL_MAX_OUTPUT = env.integer("COUNTERSIGN_MODEL_MAX_OUTPUT", 16_384, minimum=1)
STORE_ITEMS_EACH = env.integer("COUNTERSIGN_STORE_ITEMS_EACH", 10_000, minimum=0)  # of one person
USER_RUN_LIMIT = env.integer("COUNTERSIGN_USER_RUN_LIMIT", 20, minimum=1)  # under way at once
USER_BATCH_LIMIT = env.integer("COUNTERSIGN_USER_BATCH_LIMIT", 200, minimum=1)  # items of batches, at once
USER_CRON_LIMIT = env.integer("COUNTERSIGN_USER_CRON_LIMIT", 100, minimum=0)
QUEUE_LIMIT = env.integer("COUNTERSIGN_QUEUE_LIMIT", 1000, minimum=1)  # runs that wait for a worker
# What a message does while a tool call of its thread waits for a decision.
WHEN_WAITING = env.choice("COUNTERSIGN_WHEN_WAITING", "refuse", ["refuse", "queue", "withdraw"])
WORKERS = env.integer("COUNTERSIGN_WORKERS", 2, minimum=1)  # processes that `manage.py up` starts
WORKER_CONCURRENCY = env.integer("COUNTERSIGN_WORKER_CONCURRENCY", 200, minimum=1)
BATCH_CONCURRENCY = env.integer("COUNTERSIGN_BATCH_CONCURRENCY", 8, minimum=1)  # in a worker of batches
MODEL_CONNECT_TIMEOUT = env.seconds("COUNTERSIGN_MODEL_CONNECT_TIMEOUT", 5.0)
MODEL_IDLE_TIMEOUT = env.seconds("COUNTERSIGN_MODEL_IDLE_TIMEOUT", 30.0)  # first token, and between two
MODEL_TIME_LIMIT = env.seconds("COUNTERSIGN_MODEL_TIME_LIMIT", 300.0)  # one call, whole
TOOL_TIME_LIMIT = env.seconds("COUNTERSIGN_TOOL_TIME_LIMIT", 60.0)
MESSAGE_MAX_CHARS = env.integer("COUNTERSIGN_MESSAGE_MAX_CHARS", 32_000, minimum=1)
EVENT_LOG_LENGTH = env.integer("COUNTERSIGN_EVENT_LOG_LENGTH", 20_000, minimum=100)  # entries a thread
EVENT_LOG_TTL = env.seconds("COUNTERSIGN_EVENT_LOG_TTL", 3600.0)  # after the last event

KEEP_THREADS_DAYS = env.integer("COUNTERSIGN_KEEP_THREADS_DAYS", 365, minimum=1)
KEEP_CHECKPOINTS_DAYS = env.integer("COUNTERSIGN_KEEP_CHECKPOINTS_DAYS", 30, minimum=1)

# The head of the audit's chain, outside of the database: best on a disk that its administrators can't write to.
AUDIT_ANCHOR = env.text("COUNTERSIGN_AUDIT_ANCHOR") or str(HOME / "audit-anchor.jsonl")
# The private key that signs exports of the audit.
AUDIT_KEY_IS_OURS = not env.text("COUNTERSIGN_AUDIT_KEY")
AUDIT_KEY = env.text("COUNTERSIGN_AUDIT_KEY") or str(HOME / "audit-key.pem")

# What else is a secret, beside what `runtime.secret_kinds` knows, and what of that is none here.
SECRET_PATTERNS = env.patterns("COUNTERSIGN_SECRET_PATTERNS")
SECRET_KINDS_OFF = env.subset("COUNTERSIGN_SECRET_KINDS_OFF", ["card", "password"])

# --- people -----------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "accounts.backends.PasswordGate",
    "django.contrib.auth.backends.ModelBackend",
    "assistants.shop.permissions.OrdersOfGroups",  # signs nobody in: it says who may see what
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat-home"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "config.lockout.answer"
AXES_RESET_ON_SUCCESS = True

# Wrong passwords from one address, whoever's: "30 per 5 minutes", or "off".
SIGN_IN_RATE = env.rate("COUNTERSIGN_SIGN_IN_RATE", "30 per 5 minutes")
# Proxies in front that add to X-Forwarded-For; with none of them the header is anybody's.
TRUSTED_PROXIES = env.integer("COUNTERSIGN_TRUSTED_PROXIES", 0)

# Whether staff sign in with an authenticator app beside the password: they have to, may, or it is not offered.
STAFF_TOTP = env.choice("COUNTERSIGN_STAFF_TOTP", "off", ["off", "optional", "required"])

# Single sign-on: the address below which the provider has /.well-known/openid-configuration.
OIDC_ISSUER = env.url("COUNTERSIGN_OIDC_ISSUER")
OIDC_CLIENT_ID = env.text("COUNTERSIGN_OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("COUNTERSIGN_OIDC_CLIENT_SECRET")
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise ImproperlyConfigured(
        "COUNTERSIGN_OIDC_ISSUER needs COUNTERSIGN_OIDC_CLIENT_ID and COUNTERSIGN_OIDC_CLIENT_SECRET. "
        "Set both, or unset it."
    )
OIDC_NAME = env.text("COUNTERSIGN_OIDC_NAME")  # on the button
OIDC_CREATES_PEOPLE = env.boolean("COUNTERSIGN_OIDC_CREATES_PEOPLE", False)
# Whether the provider's sign-in is enough where an authenticator app would be asked for.
OIDC_REPLACES_TOTP = env.boolean("COUNTERSIGN_OIDC_REPLACES_TOTP", False)
OIDC_GROUPS_CLAIM = env.text("COUNTERSIGN_OIDC_GROUPS_CLAIM", "groups")
OIDC_GROUPS = env.mapping("COUNTERSIGN_OIDC_GROUPS", {})  # the provider's group -> ours
# Who may sign in with a password of ours.
PASSWORD_SIGN_IN = env.choice("COUNTERSIGN_PASSWORD_SIGN_IN", "everybody", ["everybody", "superusers"])
if PASSWORD_SIGN_IN == "superusers" and not OIDC_ISSUER:  # noqa: S105
    raise ImproperlyConfigured(
        f"COUNTERSIGN_PASSWORD_SIGN_IN={PASSWORD_SIGN_IN} would lock all others out: set COUNTERSIGN_OIDC_ISSUER first."
    )

# Tokens of programs that sign in by name and password.
ACCESS_TOKEN_SECONDS = env.seconds("COUNTERSIGN_ACCESS_TOKEN_SECONDS", 900.0)
REFRESH_TOKEN_DAYS = env.integer("COUNTERSIGN_REFRESH_TOKEN_DAYS", 14, minimum=1)

# Requests to the API.
API_USER_RATE = env.rate("COUNTERSIGN_API_USER_RATE", "1200 per minute")
API_KEY_RATE = env.rate("COUNTERSIGN_API_KEY_RATE", "1200 per minute")
API_ADDRESS_RATE = env.rate("COUNTERSIGN_API_ADDRESS_RATE", "6000 per minute")

# Pages of other origins that may call the API, with a key or a token: cookies stay at home.
CORS_ALLOWED_ORIGINS = env.origins("COUNTERSIGN_CORS_ORIGINS")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = ["*", "authorization"]  # "*" is all but that one
CORS_EXPOSE_HEADERS = [
    "Content-Location",
    "Location",
    "X-Pagination-Total",
    "X-Pagination-Next",
    "X-Request-ID",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
]

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics$"]  # probes come without the proxy
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
FILE_UPLOAD_HANDLERS = ["config.uploads.NoFiles"]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],  # the admin's icons
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
        # Not report-to: it works over HTTPS only, and where a browser knows it, it takes this one's place.
        "report-uri": ["/csp-report"],
    }
}

# --- language, time, files, mail --------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "templates" / "locale"]
USE_TZ = True
TIME_ZONE = env.time_zone("COUNTERSIGN_TIME_ZONE", "UTC")

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = env.text("COUNTERSIGN_STATIC_ROOT") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None  # without `collectstatic` the sources are served
_STATIC_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": _STATIC_STORAGE if STATIC_ROOT else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

EMAIL_BACKEND = env.text("COUNTERSIGN_EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = paths.mail_dir(HOME)
EMAIL_HOST = env.text("COUNTERSIGN_EMAIL_HOST", "localhost")
EMAIL_PORT = env.integer("COUNTERSIGN_EMAIL_PORT", 25, minimum=1, maximum=65535)
EMAIL_HOST_USER = env.text("COUNTERSIGN_EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("COUNTERSIGN_EMAIL_PASSWORD")
EMAIL_USE_TLS = env.boolean("COUNTERSIGN_EMAIL_TLS", False)
EMAIL_TIMEOUT = 10
# What links in notifications begin with.
PUBLIC_URL = env.url("COUNTERSIGN_PUBLIC_URL") or "http://localhost:8000/"
# Hosts that webhooks may go to although they are internal, and with http:// too.
WEBHOOK_INTERNAL_HOSTS = env.names("COUNTERSIGN_WEBHOOK_HOSTS", [])
# The same for webhooks of runs, whose addresses whoever may chat chooses; and what signs those.
RUN_WEBHOOK_HOSTS = env.names("COUNTERSIGN_RUN_WEBHOOK_HOSTS", [])
RUN_WEBHOOK_SECRET = env.text("COUNTERSIGN_RUN_WEBHOOK_SECRET")
DEFAULT_FROM_EMAIL = env.text("COUNTERSIGN_EMAIL_FROM", "countersign@localhost")

# --- what operators see -----------------------------------------------------------------------------------

METRICS_TOKEN = env.text("COUNTERSIGN_METRICS_TOKEN")  # bearer token of the scraper; operators need none
PROMETHEUS_EXPORT_MIGRATIONS = False
LOG_LEVEL = env.choice("COUNTERSIGN_LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "apps.observability.logs.JSONFormatter"}},
    "handlers": {
        "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}
    },
    "root": {"handlers": ["stdout"], "level": LOG_LEVEL},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "rq.worker": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}
