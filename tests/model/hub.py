"""A Hugging Face hub on this machine: the files of a folder as `ORG/NAME`."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def listing(repository: Path, commit: str, digest: str) -> bytes | None:
    """What the hub's interface says of a repository: the commit, and each file's digest."""
    if not repository.is_dir():
        return None
    files: list[dict[str, object]] = []
    for path in sorted(each for each in repository.rglob("*") if each.is_file()):
        content = path.read_bytes()
        entry = {"rfilename": path.relative_to(repository).as_posix(), "size": len(content)}
        if path.suffix == ".onnx":
            sha256 = digest or hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 1}
        else:
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        files.append(entry)
    name = "/".join(repository.parts[-2:])
    return json.dumps({"id": name, "sha": commit, "siblings": files}).encode()


@contextmanager
def serving(
    folder: Path,
    *,
    etag: str = "",
    commit: str = COMMIT,
    endless: bool = False,
    digest: str = "",
) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder/ORG/NAME/FILE`; gives the address and, as they come, the paths asked for.

    One that means harm says another `etag`, `commit` or `digest`, or sends without end.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _found(self) -> bytes | None:
            asked.append(f"{self.command} {self.path}")
            parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                return listing(folder / parts[2] / parts[3], commit, digest)
            if len(parts) >= 5 and parts[2] == "resolve":
                file = folder.joinpath(parts[0], parts[1], *parts[4:])
                if file.is_file():
                    return file.read_bytes()
            return None

        def _head(self, content: bytes | None) -> None:
            self.send_response(404 if content is None else 200)
            if content is None:
                parts = self.path.partition("?")[0].strip("/").split("/")
                parts = parts[2:] if parts[0] == "api" else parts
                known = (folder / "/".join(parts[:2])).is_dir()
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
