"""Whose orders somebody sees."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend

from assistants.shop.models import Order


class OrdersOfGroups(BaseBackend):
    """An order of a group is seen by its members, any other by everybody who is active."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if perm != "shop.view_order" or not isinstance(obj, Order) or not user_obj.is_active:
            return False
        return obj.group_id is None or bool(user_obj.groups.filter(pk=obj.group_id).exists())
