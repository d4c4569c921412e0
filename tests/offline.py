"""The product's settings without a database: for commands that would only ask it whether it is there."""

from config.settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}
