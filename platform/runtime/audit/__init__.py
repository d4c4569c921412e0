"""The audit: what was done, by whom, in an append-only chain that shows any later change."""

from runtime.audit.following import follow
from runtime.audit.record import Origin, acting, append

__all__ = ["Origin", "acting", "append", "follow"]
