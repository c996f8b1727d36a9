"""What runs a model in a browser: the files of onnxruntime-web, fetched once and kept."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from twlcli.errors import TwlError, reason_of
from twlcli.io import write_whole
from twlcli.stores.folders import cache_folder

VERSION = "1.30.0"
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
_PACKAGE = f"onnxruntime-web@{VERSION}"
_NAME = f"onnxruntime-web-{VERSION}.tgz"
# As npm states it for this version (dist.integrity).
_INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
_SECONDS = 600.0  # for 30 MB
LICENCE = """\
onnxruntime-web, https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def runtime_files(folder: Path | None) -> dict[str, bytes]:
    """The files of onnxruntime-web by their names.

    Args:
        folder: that has them, such as `node_modules/onnxruntime-web/dist`; None for those that npm
            fetches, from where it is configured to; they are kept with the user's caches.

    Raises:
        TwlError: one is not there, or they cannot be fetched, or are not what they should be.
    """
    if folder is not None:
        return {name: _read(folder / name) for name in RUNTIME_FILES}
    with tarfile.open(fileobj=io.BytesIO(_package()), mode="r:gz") as archive:
        found = {}
        for name in RUNTIME_FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None, "what has the right hash has these files"
            found[name] = member.read()
    return found


def kept_package() -> Path:
    """Where the package is kept once it was fetched."""
    return cache_folder() / _NAME


def _package() -> bytes:
    kept = kept_package()
    content = _read(kept) if kept.is_file() else b""
    if _is_right(content):
        return content
    content = _fetched()
    if not _is_right(content):
        raise TwlError(f"what npm has fetched is not {_PACKAGE}: its hash is another")
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, lambda file: file.write(content))
    return content


def _fetched() -> bytes:
    """The package as npm fetches it.

    Raises:
        TwlError: npm is not there, or cannot.
    """
    npm = shutil.which("npm")
    hint = "{runtime} names a folder with " + ", ".join(RUNTIME_FILES)
    if npm is None:
        raise TwlError(f"{_PACKAGE} is fetched by npm, which is not installed", hint=hint)
    with TemporaryDirectory(prefix="twl-npm-") as folder:
        options = ("--ignore-scripts", "--loglevel=error", f"--pack-destination={folder}")
        try:
            done = subprocess.run(
                [npm, "pack", _PACKAGE, *options], capture_output=True, text=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            reason = f"no answer in {_SECONDS:.0f} seconds"
        else:
            if done.returncode == 0:
                return _read(Path(folder) / _NAME)
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            reason = said[0]
    raise TwlError(f"{_PACKAGE} cannot be fetched by npm ({reason})", hint=hint)


def _is_right(content: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == _INTEGRITY


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TwlError(f"{path}: cannot be read ({reason_of(error)})") from None
