"""A page that tags images in the browser, opened from a server."""

import base64
import hashlib
import http.server
import io
import json
import os
import queue
import re
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import CHROMIUM, needs_chromium
from tests.exporting.finished import LABELS, finished
from tests.images.encoded import noise, picture
from twlcli.errors import TwlError
from twlcli.exporting import web_runtime
from twlcli.exporting.bundle import export_bundle
from twlcli.exporting.web_page import FILES
from twlcli.exporting.web_runtime import RUNTIME_FILES, VERSION, kept_package, runtime_files
from twlcli.inference.tagger import load_model
from twlcli.model.preprocessing import Preprocessing

needs_runtime = pytest.mark.skipif(
    not kept_package().is_file(), reason="onnxruntime-web was not fetched by an export so far"
)
IMAGES = {
    "wide.png": noise(200, 90),
    "tall.png": noise(91, 203),
    "small.png": noise(40, 30),
    "picture.png": picture(300, 301),
    "clear.png": noise(80, 90).convert("RGBA"),
}
IMAGES["clear.png"].putalpha(255)
ACT = """
import { probabilities } from "./tagger.js";
const names = NAMES;
const files = await Promise.all(names.map(async (name) =>
  new File([await (await fetch(name)).blob()], name)));
const found = {};
for (const file of files) {
  if (file.name.endsWith(".png")) found[file.name] = await probabilities(file);
}
const chosen = new DataTransfer();
files.forEach((file) => chosen.items.add(file));
const input = document.querySelector("#files");
while (input.disabled) await new Promise((done) => setTimeout(done, 50));
input.files = chosen.files;
input.dispatchEvent(new Event("change"));
const said = () => document.querySelectorAll(".given, .none, .error").length;
while (said() < files.length) await new Promise((done) => setTimeout(done, 50));
const cards = [...document.querySelectorAll(".image")].map((card) => ({
  name: card.querySelector(".name").textContent,
  tags: [...card.querySelectorAll(".given .label")].map((each) => each.textContent),
  error: card.querySelector(".error")?.textContent,
}));
await fetch("said", { method: "POST", body: JSON.stringify({ found, cards }) });
"""


@pytest.fixture(scope="module", params=["bicubic", "bilinear"])
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    preprocessing = Preprocessing(72, 64, request.param)
    source = finished(folder, "squeezenet1_1", preprocessing=preprocessing)
    return source, export_bundle(source, "web", folder / "web").folder


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, said, **options) -> None:
        self.said = said
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        self.said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments) -> None:
        pass


def opened(folder: Path, script: str):
    """What a script posts that acts as the page's user, in a page that a server sends."""
    assert CHROMIUM is not None
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = (folder / "index.html").read_text()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    acting = f'<script type="module">{script}</script></body>'
    (folder / "acting.html").write_text(text.replace("</body>", acting))
    said: queue.Queue[Any] = queue.Queue()
    handler = partial(_Handler, said=said, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *(f"--user-data-dir={folder.parent / 'profile'}", "--remote-debugging-port=0"),
                f"http://127.0.0.1:{server.server_port}/acting.html",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return said.get(timeout=60)
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()


@needs_chromium
@needs_runtime
def test_browser_gives_the_probabilities_and_tags_of_twl(bundle):
    source, folder = bundle
    for name, image in IMAGES.items():
        image.save(folder / name)
    (folder / "text.txt").write_text("no picture")
    script = ACT.replace("NAMES", json.dumps([*IMAGES, "text.txt"]))
    said = opened(folder, script)
    tagger = load_model(source, device="cpu")
    paths = [folder / name for name in IMAGES]
    expected = dict(zip(IMAGES, tagger.predict_proba(paths), strict=True))
    for name, row in expected.items():
        np.testing.assert_allclose(said["found"][name], row, atol=1e-3)
    cards = {each["name"]: each for each in said["cards"]}
    for path, tags in zip(paths, tagger.tag(paths), strict=True):
        assert sorted(cards[path.name]["tags"]) == sorted(tags.labels)
    assert cards["text.txt"]["error"] == "Cannot be read as an image."
    assert cards["text.txt"]["tags"] == []


@needs_runtime
def test_folder_is_whole_and_names_no_other_server(bundle):
    _, folder = bundle
    assert {path.name for path in folder.iterdir()} >= {*FILES}
    page = (folder / "index.html").read_text()
    assert "default-src 'none'" in page and "'wasm-unsafe-eval'" in page
    for name in ("index.html", "tagger.js", "resample.js"):
        assert not re.search(r"https?://|//cdn", (folder / name).read_text())
    model = json.loads((folder / "model.json").read_text())
    assert model["labels"] == list(LABELS)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that packs what it is told to, under a cache of its own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in RUNTIME_FILES:
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    fake = Npm(tmp_path, buffer.getvalue())
    right = base64.b64encode(hashlib.sha512(fake.content).digest()).decode()
    monkeypatch.setattr(web_runtime, "_INTEGRITY", right)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(fake.folder), prepend=os.pathsep)
    return fake


class Npm:
    """A program `npm` in a folder of its own; it copies `content`, or fails where there is none."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.content = content
        self.folder = folder / "bin"
        self.folder.mkdir()
        self._log = folder / "asked"
        self._package = folder / "package.tgz"
        self.packs(content)
        program = self.folder / "npm"
        program.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, shutil, sys\n"
            f"package, log = {str(self._package)!r}, pathlib.Path({str(self._log)!r})\n"
            "(folder,) = [each.partition('=')[2] for each in sys.argv if 'destination' in each]\n"
            "with log.open('a') as file: file.write(' '.join(sys.argv[1:3]) + '\\n')\n"
            "if not pathlib.Path(package).exists(): sys.exit('npm error code ENOTFOUND')\n"
            f"shutil.copy(package, folder + '/onnxruntime-web-{VERSION}.tgz')\n"
        )
        program.chmod(0o755)

    def packs(self, content: bytes | None) -> None:
        self._package.unlink(missing_ok=True)
        if content is not None:
            self._package.write_bytes(content)

    def asked(self) -> list[str]:
        return self._log.read_text().splitlines()


def test_runtime_is_fetched_once_and_checked(npm):
    expected = {name: name.encode() for name in RUNTIME_FILES}
    assert runtime_files(None) == expected
    assert runtime_files(None) == expected
    assert npm.asked() == ["pack onnxruntime-web@1.30.0"]
    kept_package().write_bytes(b"half")
    assert runtime_files(None) == expected
    assert len(npm.asked()) == 2
    assert kept_package().read_bytes() == npm.content


def test_runtime_with_another_hash_is_refused(npm):
    npm.packs(b"x")
    with pytest.raises(TwlError, match=r"is not onnxruntime-web@1\.30\.0: its hash is another"):
        runtime_files(None)
    assert not kept_package().exists()


def test_without_npm_the_folder_is_asked_for(npm, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TwlError, match=r"by npm, which is not installed; `runtime` names a folder"):
        runtime_files(None)


def test_without_a_network_a_folder_can_be_named(npm, tmp_path):
    npm.packs(None)
    said = r"cannot be fetched by npm \(npm error code ENOTFOUND\); `runtime` names a folder"
    with pytest.raises(TwlError, match=said):
        runtime_files(None)
    with pytest.raises(TwlError, match=r"ort\.wasm\.min\.mjs: cannot be read"):
        runtime_files(tmp_path)
    for name in RUNTIME_FILES:
        (tmp_path / name).write_text(name)
    assert runtime_files(tmp_path) == {name: name.encode() for name in RUNTIME_FILES}
    with pytest.raises(TwlError, match="a runtime is for the bundle web alone"):
        export_bundle(tmp_path, "wd", tmp_path / "a", runtime=tmp_path)
