"""Event streaming v2: a thread's log told as protocol events, by server-sent events or over a socket, and its commands.

The log is the one that every other stream reads; what it no longer has is told from the rows.
"""
