"""In the product's settings: a rule that lets who asks confirm, and three keys, printed as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make() -> dict[str, str]:
    from accounts import keys
    from accounts.models import User
    from accounts.scopes import Scope

    from apps.approvals.models import PolicyRule

    PolicyRule.objects.create(
        name="Confirm", tool="refund_order", verdict="ask", requester_confirms=True, priority=1
    )
    people = {name: User.objects.get(username=name) for name in ("alice", "carol")}
    made = {
        name: keys.create_key(user, "conformance", (Scope.CHAT, Scope.APPROVE), None)[1]
        for name, user in people.items()
    }
    admin = User.objects.get(username="admin")
    made["admin"] = keys.create_key(admin, "conformance", (Scope.ASSISTANTS,), None)[1]
    return made


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    print(json.dumps(make()))


if __name__ == "__main__":
    main()
