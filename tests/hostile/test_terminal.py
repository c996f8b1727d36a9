"""Names, labels and messages of strangers, as every command prints them."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table
from rich.text import Text

import twlcli
from tests.hostile.test_links import twl
from tests.images.encoded import encode
from tests.tagging.models import spec_with_labels, write_model
from twlcli.cli.console import Console
from twlcli.cli.printable import Terminal, printable, printable_lines, say
from twlcli.errors import TwlError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file names of POSIX")

# The title of the window, the clipboard, the screen cleared, C1 in one character, right to left, a
# line of its own, a carriage return over the line, bells, rich's markup and a rich emoji.
EVIL = (
    "\x1b]0;PWNED\x07",
    "\x1b]52;c;cm0gLXJm\x1b\\",
    "\x1b[2J\x1b[31m",
    "\x9b31m",
    "\u202egpj.exe",
    "\u2066x",
    "x\ntwl: error: SPOOFED",
    "ok\rtwl: error: SPOOFED",
    "\x08\x08\x7f",
    "[red]bold[/red][link=http://x]x[/link]",
    ":skull:",
)
LABEL = " ".join(EVIL)  # not at its ends, where labels lose white space
NAME = LABEL.replace("/", "_").replace("\\", "_")[:200]


def assert_harmless(text: str, *, lines_are_data: bool = False) -> None:
    bad = {character for character in text if character != "\n" and not character.isprintable()}
    assert not bad, (bad, text[:500])
    spoofed = [line for line in text.splitlines() if line.lstrip().startswith("twl: error: SPOOF")]
    assert lines_are_data or not spoofed
    assert "\N{SKULL}" not in text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        image = Image.new("RGB", (30, 20), (255 * (number % 2), 40 * number, 0))
        (photos / f"{number} {NAME}.png").write_bytes(encode(image, "PNG"))
    (photos / f"broken {NAME}.png").write_text("no image")
    write_model(tmp_path / "model.onnx", metadata=spec_with_labels("a", LABEL, "b").to_json())
    rows = [["image", "labels", "split", "group"]]
    names = sorted(path.name for path in photos.iterdir())
    for number, name in enumerate([*names, f"gone {NAME}.png"]):
        labels = json.dumps(["a", LABEL] if number % 2 else ["b"])
        rows.append([f"photos/{name}", labels, "train" if number % 3 else f"part {EVIL[0]}", NAME])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        for row in rows:
            file.write(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n")
    return tmp_path


COMMANDS = {
    "show": ("data", "show", "labels.csv", "--group-column", "group", "--all"),
    "show as JSON": ("data", "show", "labels.csv", "--json"),
    "check": ("data", "check", "labels.csv"),
    "check all as JSON": ("data", "check", "labels.csv", "--json"),
    "split": ("data", "split", "labels.csv", "--out", "split.csv", "--by-group"),
    "convert": ("data", "convert", "labels.csv", "--out", f"out {NAME}.csv"),
    "eval": ("eval", "model.onnx", "labels.csv", "--split", "all"),
    "eval as JSON": ("eval", "model.onnx", "labels.csv", "--split", "all", "--json"),
    "eval of two": ("eval", "model.onnx", "model.onnx", "labels.csv", "--split", "all"),
    "tag": ("tag", "photos", "--model", "model.onnx", "--out", f"{NAME}.csv"),
    "tag top": ("tag", "photos", "--model", "model.onnx", "--xmp", "--txt", "--top-k", "3"),
    "no such model": ("tag", "photos", "--model", f"{NAME}.onnx"),
    "no such folder": ("tag", NAME, "--model", "model.onnx"),
    "no such option": ("tag", f"--{EVIL[0]}"),
    "no such command": (EVIL[0],),
    "no such labels": ("data", "show", f"{NAME}.csv"),
    "no such recipe": ("recipe", "show", NAME),
    "no such shard": ("merge", f"{NAME}.csv", f"{NAME}1.csv"),
    "no such run": ("train", "--resume", NAME),
    "no such threshold": ("tag", "photos", "--model", "model.onnx", "--threshold", EVIL[0]),
    "untag": ("untag", "photos", "--dry-run"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_what_acts_on_a_terminal(folder, name):
    result = twl(*COMMANDS[name])
    assert_harmless(result.stderr)
    assert not isinstance(result.exception, Exception) or result.exit_code in (1, 2, 3)
    if "--json" in COMMANDS[name]:
        json.loads(result.stdout)
    if name != "tag top":  # data on what is no terminal: as they are
        assert_harmless(result.stdout)
    assert result.output


def test_untag_says_what_it_would_remove(folder):
    assert twl("tag", "photos", "--model", "model.onnx", "--xmp", "--top-k", "1").exit_code == 3
    result = twl("untag", "photos", "--dry-run")
    assert result.stdout.count("remove photos") == 6
    assert_harmless(result.output)


def test_tensors_and_labels_of_weights(folder):
    torch = pytest.importorskip("torch")
    weights = {f"{NAME}.{number}": torch.zeros(1) for number in range(5)}
    torch.save(weights, folder / "evil.pth")
    options = ("--weights", "evil.pth", "--epochs", "1", "--set", "data.missing=skip")
    result = twl("train", "labels.csv", *options, "--out", "run", "--backbone", "resnet18")
    assert result.output
    assert_harmless(result.output)


@pytest.mark.parametrize("name", ["recipe.toml", "metrics.jsonl"])
def test_a_recipe_of_a_stranger(folder, name):
    (folder / "run").mkdir()
    escaped = json.dumps(LABEL)
    (folder / "run" / "recipe.toml").write_text(f"version = 2\n[data]\npath = {escaped}\n")
    for options in ((), ("--toml",)):
        result = twl("recipe", "show", "run", *options)
        assert result.output
        assert_harmless(result.output)


def test_data_on_a_terminal_are_made_printable_and_else_left(folder):
    command = [sys.executable, "-m", "twlcli", "tag", "photos", "--model", "model.onnx"]
    reader, terminal = os.openpty()
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, timeout=60)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(reader, 1 << 16):
            shown += piece
    except OSError:  # the end
        pass
    os.close(reader)
    assert done.returncode == 3, done.stderr
    assert shown.count(b"image,labels,probabilities") == 1 and b"PWNED" in shown
    assert_harmless(shown.decode().replace("\r\n", "\n"), lines_are_data=True)
    piped = subprocess.run(command, capture_output=True, timeout=60)
    assert b"\x1b]0;PWNED\x07" in piped.stdout
    assert_harmless(piped.stderr.decode())


def test_a_traceback_is_made_printable(folder):
    code = (
        "import sys, twlcli.cli.app as app\n"
        "def fail(**_): raise ZeroDivisionError(sys.argv[1])\n"
        "app.app = fail\n"
        "app.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, LABEL], capture_output=True, timeout=60)
    assert done.returncode == 1 and b"ZeroDivisionError" in done.stderr
    assert_harmless(done.stderr.decode(), lines_are_data=True)


@pytest.mark.parametrize("evil", EVIL)
def test_whatever_is_drawn_on_the_console_is_harmless(evil):
    console = Console()
    console.file = file = io.StringIO()
    table = Table(evil, title=evil, caption=evil, box=None)
    table.add_row(evil)
    table.add_row(Text(evil.replace("\n", "")))
    console.print(table)
    console.print(evil, markup=True, emoji=True)
    console.print(Text(evil.replace("\n", "")))
    assert_harmless(file.getvalue())
    if evil.startswith("["):
        assert file.getvalue().count("[red]bold[/red]") >= 2


def test_say_is_one_line_and_not_endless(capsys):
    say(f"{LABEL}\n" * 10_000)
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and len(text) < 20_000
    assert_harmless(text)


def test_a_terminal_gets_lines_whole():
    stream = io.BytesIO()
    terminal = Terminal(stream)
    row = f"{LABEL},caf\udce9,日本\n".encode("utf-8", "surrogateescape")
    assert terminal.write(row) == len(row)
    assert stream.getvalue().decode().endswith("caf\\udce9,日本\n")
    assert_harmless(stream.getvalue().decode(), lines_are_data=True)


def test_printable_texts_stay_as_they_are():
    for text in ("", "dog", "日本 é ½", "a,b|c [d] :e:"):
        assert printable(text) == printable_lines(text) == text
    assert printable_lines("a\n\tb") == "a\n\\tb"


def calls_in(path: Path) -> set[str]:
    """The names of what a module calls, such as `typer.echo`."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {ast.unparse(call.func) for call in calls}


def test_nothing_prints_past_the_functions_that_make_texts_printable():
    package = Path(twlcli.__file__).parent
    for path in package.rglob("*.py"):
        calls, place = calls_in(path), path.relative_to(package).as_posix()
        if place != "cli/printable.py":
            printing = {"print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write"}
            assert not calls & (printing | {"sys.stderr.write", "rich.print"}), place
        if place != "cli/console.py":
            assert not calls & {"RichConsole", "rich.console.Console"}, place
        assert not calls & {"Text.from_markup", "Text.from_ansi", "render_markup"}, place
        text = path.read_text()
        assert text.count('TextColumn("{task.') == text.count(", markup=False)") or (
            place == "cli/progress.py"  # a number alone
        ), place


def test_errors_of_the_library_hold_no_line_breaks_where_the_command_line_prints_them(folder):
    error = TwlError(f"{NAME}: is wrong", hint=f"use {NAME}")
    assert_harmless(printable(str(error)))
    assert np.isfinite(len(printable(str(error))))


@pytest.mark.parametrize(
    "arguments",
    [
        ("tag", ".", "--model", "NAME"),
        ("eval", "NAME", "."),
        ("export", "NAME"),
        ("data", "show", "NAME"),
        ("merge", "NAME", "a.csv"),
        ("train", "a.csv", "--recipe", "NAME"),
    ],
)
def test_names_that_are_too_long_are_one_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = twl(*("x" * 300 if each == "NAME" else each for each in arguments))
    assert result.exit_code == 2
    assert "File name too long" in result.output.splitlines()[-1]
    assert "Traceback" not in result.output
