import pytest
from typer.testing import CliRunner

from tests.cli.test_tag import twl_tag
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from tests.tagging.outputs.foreign_xmp import LIGHTROOM
from twlcli.cli.app import app


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(encode(picture(), "PNG"))
    (folder / "b.xmp").write_bytes(LIGHTROOM)
    return folder


def untag(*arguments: object):
    return CliRunner().invoke(app, ["untag", *map(str, arguments)])


def test_untag_lists_and_then_takes_out(photos, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    tagged = twl_tag(photos, "--model", model, "--xmp", "--threshold", "0.1")
    assert ", 2 sidecars written, in " in tagged.stderr
    again = twl_tag(photos, "--model", model, "--xmp", "--threshold", "0.1")
    assert ", 0 sidecars written, 2 unchanged, in " in again.stderr
    planned = untag(photos, "--dry-run")
    assert planned.exit_code == 0
    assert planned.stdout.splitlines() == [
        f"remove {photos / 'a.png.xmp'}",
        f"clean {photos / 'b.xmp'}",
    ]
    assert "dry run, nothing was changed: 1 file would be removed, 1 cleaned" in planned.stderr
    done = untag(photos)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "twl: 1 file removed, 1 cleaned\n"
    assert not (photos / "a.png.xmp").exists()
    assert (photos / "b.xmp").read_bytes() == LIGHTROOM


def test_untag_reports_what_it_cannot_change(photos, tmp_path):
    twl_tag(photos, "--model", write_model(tmp_path / "model.onnx"), "--xmp", "--threshold", "0.1")
    (photos / "b.xmp").write_bytes((photos / "b.xmp").read_bytes()[:-20])
    done = untag(photos)
    assert done.exit_code == 3
    assert f"twl: failed: {photos / 'b.xmp'}: its XMP is left alone" in done.stderr
    assert done.stderr.endswith("twl: 1 file removed, 0 cleaned, 1 failed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: no such file or folder"),
        ([".", "--no-originals"], "--no-originals requires --embedded"),
        ([".", "--journal", "gone"], "gone: no such journal"),
    ],
)
def test_untag_checks_its_arguments_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = untag(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("twl: error: ") and message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--restore-deleted"], "--restore-deleted requires --xmp or --write-embedded"),
        (["--no-originals", "--xmp"], "--no-originals requires --write-embedded"),
        (["--txt-existing", "keep"], "--txt-existing requires --txt"),
        (["--txt", "--txt-existing", "add"], "expected append, keep or replace"),
    ],
)
def test_options_of_sidecars_are_checked(photos, tmp_path, options, message):
    model = write_model(tmp_path / "model.onnx")
    result = twl_tag(photos, "--model", model, *options)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1
