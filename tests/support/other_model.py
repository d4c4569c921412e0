"""A second OpenAI-compatible endpoint, unlike the demo model wherever the protocol leaves a choice.

It guards against a platform that works with our own endpoint only. Threads and HTTP/1.0 without chunks; CRLF
line ends and "data:" without a blank; several events in one TCP segment; a tool call whole in one delta; ids
("call_0", "call_1") that come again in every message; keys that nobody asked for; words at random.
"""

from __future__ import annotations

import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "juniper", "kelp"]
EVENTS_PER_WRITE = 3


class OtherModel:
    """`with OtherModel(seed=7) as model: model.base_url`. The same seed and messages give the same words.

    "Refund …" with numbers calls `refund_order` straight away: numbers of four digits and more are orders,
    another one is the amount. After tool results it answers with words and the results' texts.
    """

    model = "other-large-2"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        #: The bodies of all chat requests, oldest first.
        self.requests: list[dict[str, Any]] = []

    def __enter__(self) -> OtherModel:
        handler = type("BoundHandler", (Handler,), {"owner": self})
        self._server = Listener(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The assistant message for a request, and keep the request."""
        self.requests.append(body)
        messages = body["messages"]
        chance = random.Random(f"{self.seed} {json.dumps(messages, sort_keys=True)}")
        if messages[-1]["role"] == "tool":
            return {"role": "assistant", "content": f"{babble(chance)}: {'; '.join(last_results(messages))}"}
        calls = refunds(plain(messages[-1]), chance) if offers(body, "refund_order") else []
        if calls:
            return {"role": "assistant", "content": None, "tool_calls": calls}
        return {"role": "assistant", "content": babble(chance)}


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    owner: OtherModel
    server_version = "OtherInference/2.1"
    timeout = 30  # seconds of silence

    def do_GET(self) -> None:
        self.reply_json(200, {"object": "list", "data": [{"id": OtherModel.model, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self.reply_json(404, {"error": {"message": "No such route", "code": 404}, "user_id": "u-1"})
            return
        message = self.owner.answer(body)
        if body.get("stream"):
            self.reply_stream(stream_of(message, body))
        else:
            self.reply_json(200, whole(message, body))

    def reply_json(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value, indent=1).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reply_stream(self, events: list[str]) -> None:
        """No length and no chunks: the end of the connection is the end of the body."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for at in range(0, len(events), EVENTS_PER_WRITE):
            self.wfile.write(
                "".join(f"{line}\r\n\r\n" for line in events[at : at + EVENTS_PER_WRITE]).encode()
            )

    def log_message(self, format: str, *args: Any) -> None:
        pass


def babble(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(5, 25)))


def plain(message: dict[str, Any]) -> str:
    content = message["content"] or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def last_results(messages: list[dict[str, Any]]) -> list[str]:
    """The tool messages at the end, oldest first."""
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, plain(message))
    return results


def offers(body: dict[str, Any], name: str) -> bool:
    return any(tool["function"]["name"] == name for tool in body.get("tools") or [])


def refunds(text: str, chance: random.Random) -> list[dict[str, Any]]:
    """One call per order number in a text that speaks of a refund."""
    if "refund" not in text.lower():
        return []
    numbers = re.findall(r"\d+(?:\.\d+)?", text)
    orders = [number for number in numbers if len(number) >= 4 and "." not in number]
    amounts = [number for number in numbers if number not in orders]
    amount = amounts[0] if amounts else f"{chance.randint(1, 50)}.00"
    return [refund_call(index, int(order), amount, chance) for index, order in enumerate(orders)]


def refund_call(index: int, order: int, amount: str, chance: random.Random) -> dict[str, Any]:
    arguments = {"reason": chance.choice(WORDS), "amount": amount, "order_number": order}
    function = {"name": "refund_order", "arguments": json.dumps(arguments, indent=2)}
    return {"id": f"call_{index}", "type": "function", "function": function}


def finish_reason(message: dict[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def usage_of(message: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    said, heard = len(json.dumps(message)) // 4, len(json.dumps(body)) // 4
    counts = {"prompt_tokens": heard, "completion_tokens": said, "total_tokens": heard + said}
    return {**counts, "cost": 0.00001, "prompt_tokens_details": None}


def whole(message: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(message), "native_reason": "eos"}
    return envelope("chat.completion", [choice], usage=usage_of(message, body))


def stream_of(message: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """Lines of the stream: a comment, the role alone, words, calls, the reason, the usage, the end."""
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    deltas += [
        {"role": "assistant", "content": word} for word in re.findall(r"\s*\S+", message["content"] or "")
    ]
    deltas += [
        {"tool_calls": [{"index": i, **call}]} for i, call in enumerate(message.get("tool_calls") or [])
    ]
    chunks = [piece(delta) for delta in deltas]
    chunks.append(piece({"content": ""}, finish_reason(message)))
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(envelope("chat.completion.chunk", [], usage=usage_of(message, body)))
    return [": OTHER PROCESSING", *(f"data:{json.dumps(chunk)}" for chunk in chunks), "data:[DONE]"]


def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return envelope("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": reason}])


def envelope(kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    same = {
        "id": "gen-1",
        "provider": "Other",
        "system_fingerprint": None,
        "created": 1,
        "model": "other/large-2",
    }
    return {**same, "object": kind, "choices": choices, **more}
