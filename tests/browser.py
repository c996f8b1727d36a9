"""Pages in a headless Chromium, where it is installed."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Page(HTMLParser):
    """A page's texts by the id or class of their element, its images, and what its console says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.console: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.images: list[dict[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        if tag not in ("img", "input", "meta", "link"):
            name = found.get("id") or found.get("class") or tag
            self._open.append(name)
            self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in set(self._open):
            self.texts[name][-1] += data

    @property
    def files(self) -> list[str]:
        return self.texts.get("file", [])


def browse(path: Path, fragment: str = "") -> Page:
    """A page as Chromium has it once its scripts have run.

    Args:
        path: the page.
        fragment: of its address.
    """
    assert CHROMIUM is not None
    profile = path.parent / "profile"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={profile}", "--virtual-time-budget=3000", "--dump-dom"),
            "--enable-logging=stderr",
            f"file://{quote(os.fsencode(path))}#{fragment}",
        ],
        capture_output=True,
        check=True,
        timeout=60,
    )
    page = Page(done.stdout.decode())
    page.console = [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]
    return page


def acting(path: Path, script: str) -> Path:
    """The same page with a script that acts as its user, which the page's policy has to allow."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = path.read_text().replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    copy = path.with_name("acting.html")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    return copy


SAY = """
const say = (value) => document.body.append(Object.assign(
  document.createElement("p"), { className: "said", textContent: JSON.stringify(value) }));
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const text = (selector) => one(selector).textContent;
"""


def said(path: Path, script: str, fragment: str = "") -> list[Any]:
    """What a script says, by `say`, that acts as the page's user; the console stays empty."""
    found = browse(acting(path, SAY + script), fragment)
    assert not found.console, found.console
    return [json.loads(text) for text in found.texts["said"]]
