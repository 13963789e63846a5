"""The Lambda Runtime API of one execution environment: an HTTP server that hands out invocations
and takes their answers.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESPONSE_BYTES_MAX = 6 * 1024 * 1024
PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Answer:
    """What the function made of an invocation."""

    body: bytes
    is_error: bool


def error(kind: str, message: str) -> Answer:
    """An answer that the platform gives in the function's place."""
    return Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), True)


@dataclass(frozen=True)
class Invocation:
    """One event on its way to the function."""

    request_id: str
    headers: dict[str, str]
    payload: bytes
    answer: Future = field(default_factory=Future)

    def settle(self, answer: Answer) -> bool:
        """The first answer counts; says whether this was it."""
        if self.answer.done():
            return False
        self.answer.set_result(answer)
        return True


class RuntimeApi:
    """Serves one process. `on_waiting` is called when the process asks for work and has none."""

    def __init__(self, on_waiting):
        self.on_waiting = on_waiting
        # Resolved by the first request for work; an Answer if the start has failed.
        self.started: Future = Future()
        self.current: Invocation | None = None
        self._work: queue.Queue = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def put(self, invocation: Invocation) -> None:
        self.current = invocation
        self._work.put(invocation)

    def idle(self) -> bool:
        """No invocation is waiting for its answer."""
        return self.current is None or self.current.answer.done()

    def next(self) -> Invocation | None:
        """Blocks until there is work; None when the environment ends."""
        if not self.started.done():
            self.started.set_result(None)
        if self._work.empty():
            self.on_waiting()
        return self._work.get()

    def failed(self, answer: Answer) -> None:
        """The process ended, or said that it cannot start."""
        if not self.started.done():
            self.started.set_result(answer)
        if self.current:
            self.current.settle(answer)

    def answered(self, request_id: str, answer: Answer) -> bool:
        current = self.current
        return bool(current and current.request_id == request_id and current.settle(answer))

    def close(self) -> None:
        self._work.put(None)
        self._server.shutdown()
        self._server.server_close()


def _handler(api: RuntimeApi):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path != PREFIX + "invocation/next":
                return self._reply(404, {"errorType": "NoSuchPath"})
            invocation = api.next()
            if invocation is None:
                self.close_connection = True
                return None
            return self._send(200, invocation.payload, invocation.headers)

        def do_POST(self):
            body = self._body()
            if self.path == PREFIX + "init/error":
                api.failed(Answer(body, True))
                return self._reply(202, {"status": "OK"})
            request_id, _, kind = self.path.removeprefix(PREFIX + "invocation/").partition("/")
            if kind not in ("response", "error"):
                return self._reply(404, {"errorType": "NoSuchPath"})
            answer = Answer(body, kind == "error")
            if len(body) > RESPONSE_BYTES_MAX:
                answer = error(
                    "Function.ResponseSizeTooLarge",
                    f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload "
                    f"size ({RESPONSE_BYTES_MAX} bytes).",
                )
            if not api.answered(request_id, answer):
                return self._reply(400, {"errorType": "InvalidRequestID"})
            return self._reply(202, {"status": "OK"})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def _reply(self, status, content):
            self._send(status, json.dumps(content).encode(), {})

        def _send(self, status, body, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
