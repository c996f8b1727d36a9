"""A Hugging Face hub on this machine: the files of a folder as `ORG/NAME`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(
    folder: Path, *, etag: str = "", commit: str = COMMIT, endless: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder/ORG/NAME/FILE`; gives the address and, as they come, the paths asked for.

    One that means harm says another `etag` or `commit`, or sends without end.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _found(self) -> bytes | None:
            asked.append(f"{self.command} {self.path}")
            parts = self.path.strip("/").split("/")
            if len(parts) == 5 and parts[2] == "resolve":
                file = folder / parts[0] / parts[1] / parts[4]
                if file.is_file():
                    return file.read_bytes()
            return None

        def _head(self, content: bytes | None) -> None:
            self.send_response(404 if content is None else 200)
            if content is None:
                known = (folder / "/".join(self.path.strip("/").split("/")[:2])).is_dir()
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            else:
                self.send_header("ETag", f'"{etag or hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            if not endless or content is None:
                self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()

        def do_HEAD(self) -> None:
            self._head(self._found())

        def do_GET(self) -> None:
            content = self._found()
            self._head(content)
            self.wfile.write(content or b"")
            with suppress(OSError):
                while endless and content is not None:
                    self.wfile.write(bytes(1 << 20))

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
