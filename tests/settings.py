"""The product's own settings, on servers of the test run's own."""

import os
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="countersign-test-"))
for name in [name for name in os.environ if name.startswith(("COUNTERSIGN_", "OPENAI_"))]:
    del os.environ[name]  # a developer's own settings don't decide what a test sees
os.environ["COUNTERSIGN_HOME"] = str(HOME)

from embedded import paths  # noqa: E402

os.environ["DATABASE_URL"] = paths.database_url(HOME)
os.environ["REDIS_URL"] = paths.redis_url(HOME)
os.environ["COUNTERSIGN_SECRET_KEY"] = "only for tests"
os.environ["OPENAI_API_KEY"] = "test"

from config.settings import *  # noqa: E402, F403

# Fast for people made by the hundred; the browser's sign in with Django's own.
PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}PasswordHasher" for name in ("MD5", "PBKDF2")]
SIGN_IN_RATE = ""  # all tests come from one address; those of the limit set it
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
WHITENOISE_AUTOREFRESH = True  # or each test client would list every static file anew
