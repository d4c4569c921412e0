"""The people and orders of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from accounts import roles


@dataclass(frozen=True)
class Person:
    username: str
    groups: tuple[str, ...] = ()
    is_staff: bool = False
    is_superuser: bool = False


PEOPLE = (
    Person("alice", groups=(roles.CHAT_USERS,)),
    Person("carol", groups=(roles.CHAT_USERS,)),
    Person("bob", groups=(roles.APPROVERS,), is_staff=True),
    Person("admin", is_staff=True, is_superuser=True),
)

# number, customer, status, total in EUR, items
ORDERS = (
    (1042, "Maria Keller", "delivered", "59.90", ["Desk lamp, brass"]),
    (1043, "Tom Becker", "shipped", "129.00", ["Office chair cushion", "Footrest"]),
    (1044, "Aiko Tanaka", "processing", "18.50", ["Notebook A5, dotted", "Pencil set"]),
    (1045, "Liu Wei", "delivered", "249.00", ["Noise-cancelling headphones"]),
    (1046, "Fatima Haddad", "delivered", "74.80", ["Linen tablecloth", "Napkins, set of 6"]),
    (1047, "Jonas Lindqvist", "cancelled", "32.00", ["Wall clock"]),
    (1048, "Grace Okafor", "shipped", "415.20", ["Standing desk frame"]),
    (1049, "Pierre Martin", "delivered", "12.90", ["Coffee beans, 500 g"]),
    (1050, "Elena Rossi", "returned", "88.00", ["Running shoes, size 39"]),
    (1051, "Noah Schmidt", "processing", "1299.00", ["Laptop, 14 inch"]),
    (1052, "Chen Mei", "delivered", "45.60", ["Teapot, cast iron", "Green tea, 100 g"]),
    (1053, "Olivia Brown", "shipped", "23.75", ["Phone case", "Screen protector"]),
)
