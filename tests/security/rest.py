"""The numbers that no attack here has: tested in another way, without a subject, or open. Said, not faked."""

from __future__ import annotations

# What is tried, and the test (without a twin) that holds the answer.
ELSEWHERE: dict[int, tuple[str, str]] = {
    10: (
        "a link that decides: GET and HEAD on the address of decisions are answered with 405",
        "tests/approvals/test_decide.py::test_getting_never_decides",
    ),
    16: (
        "debug pages for others than this machine, or a database of one's own without a secret key of one's own: "
        "it does not start",
        "tests/config/test_env.py::test_debug_pages_are_for_one_s_own_machine",
    ),
    19: (
        "a body of 50 MB, by its length or in chunks: 413, and the process does not grow",
        "tests/config/test_server.py::test_a_large_body_is_refused_and_costs_nothing",
    ),
    35: (
        "a run begins from a checkpoint of another thread, one's own or somebody else's: 404",
        "tests/chat/langgraph/test_forks.py::test_a_checkpoint_that_is_not_this_threads_is_not_there",
    ),
    43: (
        "a key with `X-User` or `X-Remote-User` of somebody else: it stays its owner's",
        "tests/accounts/test_callers.py::test_no_header_makes_anybody_somebody_else",
    ),
    67: (
        "a model writes template syntax: shown as it is",
        "tests/chat/test_markdown.py::test_it_makes_no_element_of_a_template_s_words",
    ),
    72: (
        "the system prompt is asked for: no text of our assistants is a secret, and one that a model tells is masked",
        "tests/runtime/test_masking.py::test_what_models_are_told_by_our_assistants_holds_no_secret",
    ),
    80: (
        "a webhook is redirected inside: not followed. The model's address is a setting, not a field",
        "tests/approvals/notifications/test_webhooks.py::test_a_redirect_is_not_followed",
    ),
    86: (
        "Valkey from the network: it listens on its socket only, as PostgreSQL is started to",
        "tests/embedded/test_servers.py::test_valkey_keeps_keys_and_listens_on_its_socket_only",
    ),
    87: (
        "`eval`, `pickle`, `yaml.load`, `mark_safe`, raw SQL in our code: ruff's S rules, in `make check`",
        "pyproject.toml",
    ),
    88: (
        "a library with a known hole, or another file under its name: versions are exact and hashed, and `make audit` "
        "asks an advisory service about each; it needs the network, and is not part of the tests",
        "tests/test_requirements.py::test_every_package_is_pinned_and_hashed",
    ),
    98: (
        "hundreds of requests at once: each approver gets a handful of mails",
        "tests/approvals/notifications/test_outbox.py::test_a_storm_is_a_handful_of_mails",
    ),
}

NOT_APPLICABLE: dict[int, str] = {
    30: "A tenant changed on an open socket: there are no tenants. What a socket may read is looked up every 5 s.",
    33: "A thread of one tenant with an assistant of another: there are no tenants.",
}

OPEN: dict[int, str] = {}
