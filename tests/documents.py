"""The code blocks of a page of Markdown, run from top to bottom as a reader would.

A `console` block holds commands after `$ ` and below each what it prints, a `python` block
statements, a `pycon` block a session with `>>>`. A block with a `title="NAME"` is a file of that
name. An HTML comment above a block says how it is run, in words with commas between:

    slow            it takes more than a few seconds
    exit 3          its last command ends with this code
    loose           what is shown are some of the words that are printed, in any order
    by hand: WHY    it is not run here

In what commands print, numbers stand for any numbers, and a line of `…` for any lines.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUN = ("console", "python", "pycon")
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^>]+) -->\n\n?)?"
    r'^(?P<ticks>```+)(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=ticks)$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"[-−+]?\d[\d,.]*(e[-+]\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str | None
    marks: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def by_hand(self) -> bool:
        return any(mark.startswith("by hand: ") for mark in self.marks)

    @property
    def is_slow(self) -> bool:
        return "slow" in self.marks

    @property
    def exit_code(self) -> int:
        return next((int(mark[5:]) for mark in self.marks if mark.startswith("exit ")), 0)


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("ticks")) + 1,
            match["language"],
            match["title"],
            _marks(match["mark"]),
            match["text"],
        )
        for match in _FENCE.finditer(text)
    ]


def _marks(text: str | None) -> tuple[str, ...]:
    if text is None or text.startswith("by hand: "):
        return () if text is None else (text,)
    return tuple(text.split(", "))


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines that it prints."""
    command, shown = "", list[str]()
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        else:
            assert command, f"{block}: output before any command"
            shown.append(line)
    if command:
        yield command, shown


@dataclass
class Reader:
    """Types a page's blocks in one folder; statements of Python share their names."""

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})

    def __post_init__(self) -> None:
        """Have `twl` and `python` run the code of this checkout."""
        programs = self.folder.parent / f"{self.folder.name}-programs"
        programs.mkdir()
        for name, arguments in (("twl", "-m twlcli "), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        }

    def run(self, block: Block) -> None:
        """Run one block; the current folder is the reader's."""
        if block.title is not None:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            source = "\n" * block.line + block.text
            exec(compile(source, str(block.page), "exec"), self.names)
        elif block.language == "pycon":
            self._run_session(block)
        elif block.language == "console":
            commands = list(commands_of(block))
            for number, (command, shown) in enumerate(commands, start=1):
                code = block.exit_code if number == len(commands) else 0
                self._run_command(block, command, shown, code)

    def _run_session(self, block: Block) -> None:
        test = doctest.DocTestParser().get_doctest(
            block.text, self.names, str(block), str(block.page), block.line
        )
        report = list[str]()
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        failed = doctest.DocTestRunner(optionflags=flags).run(
            test, out=report.append, clear_globs=False
        )
        assert not failed.failed, "".join(report)
        self.names.update(test.globs)

    def _run_command(self, block: Block, command: str, shown: list[str], code: int) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = done.stdout.replace(str(self.folder), "…").splitlines()
        report = f"{block}: {command}\nended with {done.returncode} and printed\n{done.stdout}"
        assert done.returncode == code, report
        if "loose" in block.marks:
            missing = _words(shown) - _words(printed)
            assert not missing, f"{report}\nwithout the words {missing}"
        elif shown:
            assert _matches(list(map(_plain, shown)), list(map(_plain, printed))), report


def _words(lines: Sequence[str]) -> set[str]:
    return set(re.findall(r"[^\W\d_]{2,}", "\n".join(lines)))


def _plain(line: str) -> str:
    """A line without what differs from machine to machine."""
    line = re.sub(r"\b(bfloat16|float32)\b|\bbest$", "", line.rstrip())
    return " ".join(_NUMBER.sub("#", line).split())


def _matches(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether the lines are the same, where `…` is any number of lines; blank lines are nothing."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line) + "\n" for line in shown if line
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed if line)) is not None
