"""The HTTP surface of LangGraph's own servers, so that their clients work here unmodified: `/api/langgraph`.

Hand-written, as its paths, statuses and shapes are other people's. docs/compatibility.md says what is there.
"""
