import re
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import twlcli
from twlcli.cli.app import app
from twlcli.errors import TwlError

README = Path(__file__).resolve().parents[2] / "README.md"


def commands():
    """Every command with the words that call it."""

    def walk(command, words):
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])
        if not hasattr(command, "commands"):
            yield words, command

    return list(walk(get_command(app), []))


def name_of(value):
    return " ".join(value) if isinstance(value, list) else ""


@pytest.mark.parametrize(("words", "command"), commands(), ids=name_of)
def test_every_command_has_help_and_stands_in_the_readme(words, command):
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"twl {' '.join(words)}: {parameter.name} has no help"
    assert f"twl {' '.join(words)}" in README.read_text(encoding="utf-8")


def test_options_named_in_the_readme_exist():
    known = {"--help", "--version", "--nproc-per-node"}
    for _, command in commands():
        for parameter in command.params:
            known |= set(parameter.opts)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", README.read_text(encoding="utf-8")))
    assert named <= known


def test_version_is_the_packages():
    result = CliRunner().invoke(app, ["--version"])
    assert result.output == f"twl {twlcli.__version__}\n"
    assert version("twlcli") == twlcli.__version__


def test_errors_are_one_line_and_exit_with_2(monkeypatch):
    def fail(name):
        raise TwlError("first\nsecond \udcff \x1b[31m\r" + "x" * 100_000 + "end")

    monkeypatch.setattr("twlcli.runs.resolve.recipe_file", fail)
    result = CliRunner().invoke(app, ["train", "data", "--recipe", "x"])
    assert result.exit_code == 2
    assert result.stderr.startswith("twl: error: first\\nsecond \\udcff \\x1b[31m\\rxxx")
    assert result.stderr.endswith("xxxend\n")
    assert result.stderr.count("\n") == 1 and len(result.stderr) < 5000


def test_doctor_says_what_will_be_used():
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for words in ("base: numpy", "extra train: torch", "twl tag will use:", "twl train will use:"):
        assert words in result.output
    names = CliRunner().invoke(app, ["doctor", "--backbones"]).output.split()
    assert "resnet50" in names
