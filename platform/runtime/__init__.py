"""The engine. Below it only accounts; above it the apps, which it does not know."""

import os

# A checkpoint row is code to whoever can write one, unless LangGraph is told so before it is imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
