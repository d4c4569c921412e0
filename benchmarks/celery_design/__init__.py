"""The design most often recommended for agents behind a web page, as its guides build it.

FastAPI on uvicorn takes the message and starts a Celery task; the task, one of many greenlets of a gevent worker,
streams the graph into a Redis Stream, an entry a token; an endpoint follows that with XREAD BLOCK and sends
server-sent events. It runs in .venv-bench.
"""
