"""The assistants of a new installation, and the people and orders of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from accounts import roles


@dataclass(frozen=True)
class Person:
    username: str
    groups: tuple[str, ...] = ()
    is_staff: bool = False
    is_superuser: bool = False


@dataclass(frozen=True)
class AssistantSeed:
    graph: str
    name: str
    description: str
    starters: tuple[str, ...]
    """At most four."""


ASSISTANTS = (
    AssistantSeed(
        "shop",
        "Shop assistant",
        "Looks orders up, refunds them and writes e-mails. A person approves refunds and e-mails.",
        (
            "Where is order 1042?",
            "Refund order 1042",
            "E-mail bob@example.com that order 1042 is on its way",
            "Tell me a long story",
        ),
    ),
    AssistantSeed(
        "analyser",
        "Text analyser",
        "Says of a text what it is about, in which mood it is written, whom it names, and what it says in short.",
        (
            "Yesterday Ada Lovelace visited the engine of Charles Babbage in London. She was delighted: the machine "
            "was fast and the people were friendly. Her notes will be printed in September.",
            "The parcel came late and the box was broken. Maria Keller was angry, and the answer of the Parcel "
            "Company was slow. She will never order there again.",
        ),
    ),
    AssistantSeed(
        "writer",
        "Writer",
        "Proposes an outline, and writes the text when you have confirmed or changed it.",
        ("The history of tea", "Why bicycles stay upright", "A short guide to good questions"),
    ),
)

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
