from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.utils.translation import gettext_lazy as _


class AdminConfig(admin.AdminConfig):
    """Django's admin, behind the one door."""

    default = False
    default_site = "accounts.sign_in.Site"


class AccountsConfig(AppConfig):
    default = True
    name = "accounts"
    verbose_name = _("People")
