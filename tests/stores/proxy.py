"""A proxy on the loopback that does to requests what stores and networks do now and then."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What to do with a request, by its method, its path and how often it came, from 1: "pass", "503",
# "reset", "cut" (half of the body), "other" (other bytes), or seconds to wait before.
Rule = Callable[[str, str, int], str | float]


class FaultProxy:
    """Stands in front of a server; `rule` may be changed at any time."""

    def __init__(self, port: int) -> None:
        self.rule: Rule = lambda method, path, count: "pass"
        self.requests: Counter[tuple[str, str]] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, port))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def gets(self, ending: str) -> int:
        """How often an object was asked for."""
        return sum(
            count
            for (method, path), count in self.requests.items()
            if method == "GET" and path.endswith(ending)
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: FaultProxy, port: int) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a body waits 40 ms for its headers

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            with lock:
                proxy.requests[self.command, path] += 1
                count = proxy.requests[self.command, path]
            what = proxy.rule(self.command, path, count)
            if isinstance(what, float | int):
                time.sleep(what)
            if what == "reset":
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()
                self.close_connection = True
                return
            if what == "503":
                text = b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
                self._send(503, [("Content-Type", "application/xml")], text, len(text))
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
            length = int(answer.headers.get("Content-Length") or len(content))
            if what == "cut":
                content = content[: len(content) // 2]
                self.close_connection = True
            if what == "other":
                content = content[:-1] + bytes([content[-1] ^ 1])
            kept = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("content-length", "connection", "transfer-encoding")
            ]
            self._send(answer.status, kept, content, length)
            upstream.close()

        def _send(
            self, status: int, headers: list[tuple[str, str]], content: bytes, length: int
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    return Handler
