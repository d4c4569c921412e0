"""What both halves know: where the tokens of a run are."""

from __future__ import annotations

import os

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
CONNECTIONS = 2000  # redis-py raises beyond its pool's size, and every reader blocks one
TOKEN, END = "token", "end"


def log_key(run_id: str) -> str:
    return f"run:{run_id}"
