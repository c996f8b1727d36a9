import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import twlcli
from twlcli.cli.app import app
from twlcli.cli.hints import _OTHER_COMMANDS, _OTHER_OPTIONS
from twlcli.errors import TwlError
from twlcli.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


def commands():
    """Every command with the words that call it."""

    def walk(command, words):
        if not hasattr(command, "list_commands"):
            yield words, command
            return
        for name in command.list_commands(None):
            yield from walk(command.get_command(None, name), [*words, name])

    return list(walk(get_command(app), []))


def name_of(value):
    return " ".join(value) if isinstance(value, list) else ""


@pytest.mark.parametrize(("words", "command"), commands(), ids=name_of)
def test_every_command_has_help_and_is_documented(words, command):
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert command.help
    assert "Example: twl " in command.help
    for parameter in command.params:
        assert parameter.help, f"twl {' '.join(words)}: {parameter.name} has no help"
    assert f"twl {' '.join(words)}" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_version_is_the_packages():
    for words in (["--version"], ["version"]):
        assert CliRunner().invoke(app, words).output == f"twl {twlcli.__version__}\n"
    assert version("twlcli") == twlcli.__version__


@pytest.mark.parametrize("group", [[], ["data"], ["recipe"]])
def test_lists_of_commands_are_not_cut_off(group):
    for words in ([*group, "-h"], [*group, "--help"], ["help", *group]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0
        commands = result.output.partition("Commands:")[2].strip().splitlines()
        assert len(commands) >= 2
        assert all(line.endswith(".") and not line.endswith("..") for line in commands)


@pytest.mark.parametrize(("words", "command"), commands(), ids=name_of)
def test_help_explains_a_command(words, command):
    result = CliRunner().invoke(app, ["help", *words], prog_name="twl")
    assert result.exit_code == 0
    assert result.output == CliRunner().invoke(app, [*words, "-h"], prog_name="twl").output


@pytest.mark.parametrize(("words", "command"), commands(), ids=name_of)
def test_help_shows_nothing_of_the_code(words, command):
    text = CliRunner().invoke(app, [*words, "-h"], prog_name="twl").output
    assert not re.search(r"[<{]|list\[|--policy", text), text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("predict", "twl tag"),
        ("infer", "twl tag"),
        ("label", "twl tag"),
        ("run", "twl tag"),
        ("undo", "twl untag"),
        ("tga", "'tag'"),
        ("help tga", "'tag'"),
        ("help data sho", "'show'"),
        ("help tag show", "twl tag has no subcommands"),
        ("data sho", "'show'"),
        ("frobnicate", "train, eval"),
        ("data frobnicate", "show, check, convert, split, sample"),
        ("train --lr 0.1", "--learning-rate"),
        ("train --model resnet50", "--backbone"),
        ("eval --model a.onnx", "see twl eval -h"),
        ("eval --conf 0.5 m d", "--threshold"),
        ("tag --hlep", "--help?"),
        ("export", "'RUN'"),
        ("tag --top-k 0", "'--top-k'"),
        ("train --seed", "'--seed'"),
    ],
)
def test_wrong_commands_and_options_say_what_is_meant(words, expected):
    result = CliRunner().invoke(app, words.split(), prog_name="twl")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("twl: error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_hints_name_commands_and_options_that_exist():
    known = {" ".join(words): command for words, command in commands()}
    for hint in _OTHER_COMMANDS.values():
        for called in re.findall(r"twl ((?:data )?[a-z]+)", hint):
            assert called in known
        for option in re.findall(r"--[a-z0-9-]+", hint):
            assert any(option in each.opts for command in known.values() for each in command.params)
    options = {name for command in known.values() for each in command.params for name in each.opts}
    assert set(_OTHER_OPTIONS.values()) <= options


def test_help_of_training_names_the_defaults_of_a_recipe():
    recipe = Recipe()
    text = " ".join(CliRunner().invoke(app, ["train", "-h"]).output.split())
    for option, default in {
        "--backbone": recipe.model.backbone,
        "--weights": recipe.model.weights,
        "--loss": recipe.loss.name,
        "--epochs": recipe.schedule.epochs,
        "--size": recipe.image.size,
        "--seed": recipe.train.seed,
    }.items():
        of_option = re.split(r" --[a-z]", text.partition(f" {option} ")[2])[0]
        assert f"[default: {default}]" in of_option or f"[default: {default}]" in text, option


def test_completion_can_be_shown():
    shell = {"_TWL_COMPLETE": "complete_bash", "COMP_WORDS": "twl t", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], prog_name="twl", env=shell)
    assert {"train", "tag"} <= set(result.output.split())


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["--help"], ["help", "tag"], ["recipe", "list"], ["doctor"]])
def test_a_full_disk_behind_the_standard_output_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "twlcli", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == ("twl: error: the output: cannot be written (No space left on device)\n")


def test_a_reader_who_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m twlcli recipe show | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "x.csv", "--out", ""], "--out is empty"),
        (["tag", "x.png", "--gallery="], "--gallery is empty"),
        (["data", "show", ""], "an argument is empty"),
        (["train", "x.csv", "--set", ""], "expected section.key=value"),
    ],
)
def test_an_empty_argument_is_no_path(words, message):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_without_standard_error_images_are_read(photographs):
    command = ["sh", "-c", 'exec "$@" 2>&- <&-', "sh", sys.executable, "-m", "twlcli"]
    command += ["data", "check", str(photographs), "--near", "0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert "30 images, 3 labels" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("words", [["version"], ["doctor"], ["--help"]])
def test_without_standard_output_there_is_an_error(words):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "twlcli", *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "twl: error: standard output is closed\n")
