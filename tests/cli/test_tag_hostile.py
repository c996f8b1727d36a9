"""`twl tag` on damaged files: every one is accounted for, and none stops the run."""

import csv
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.images import hostile
from tests.images.encoded import encode, huge_png, picture
from tests.images.mutated import mutated_files, whole_files
from tests.tagging.models import write_model
from twlcli.cli.app import app
from twlcli.images import sandbox as decoder


def tagged_and_failed(folder: Path, *options: object) -> tuple[list[str], dict[str, str]]:
    """The images that have tags, and the reasons of those that have none."""
    place = folder.parent
    model = write_model(place / "model.onnx")
    files = ["--out", place / "tags.csv", "--errors", place / "errors.csv", "--force"]
    arguments = [folder, "--model", model, *files, "--no-journal", *options]
    result = CliRunner().invoke(app, ["tag", *map(str, arguments)])
    with (place / "tags.csv").open(newline="") as table:
        tagged = [row["image"] for row in csv.DictReader(table)]
    with (place / "errors.csv").open(newline="") as table:
        failed = {row["image"]: row["error"] for row in csv.DictReader(table)}
    assert result.exit_code == (3 if failed else 0), result.output
    assert f": {len(tagged):,} tagged, {len(failed):,} failed" in result.stderr
    return tagged, failed


@pytest.mark.parametrize(
    ("count", "seed"),
    [(10 * len(whole_files()), 1), pytest.param(12_000, 2, marks=pytest.mark.slow)],
)
def test_every_mutated_file_is_accounted_for(tmp_path, count, seed):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in mutated_files(count, seed=seed):
        (folder / name).write_bytes(content)
    tagged, failed = tagged_and_failed(folder)
    assert sorted([*tagged, *failed]) == sorted(path.name for path in folder.iterdir())
    assert len(set(tagged)) == len(tagged) > count // 20
    assert len(failed) > count // 3
    assert all(reason and "\n" not in reason for reason in failed.values())
    unforeseen = {name: reason for name, reason in failed.items() if "Error:" in reason}
    assert not unforeseen


def test_the_files_before_the_damage_are_good(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (_, content) in enumerate(whole_files()):
        (folder / f"{number}.jpg").write_bytes(content)
    tagged, failed = tagged_and_failed(folder)
    assert (len(tagged), failed) == (len(whole_files()), {})


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_decoders_that_crash_or_hang_do_not_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "_PROGRAM", hostile.PROGRAM)
    folder = tmp_path / "photos"
    folder.mkdir()
    orders = ["fine", "crash", "fine", "poison", "fine", "hang", "exit", "noise", "bug"] * 2
    for number, order in enumerate(orders):
        (folder / f"{number:02}-{order}.png").write_text(order)
    (folder / ".good.png").write_bytes(encode(picture(), "PNG"))
    tagged, failed = tagged_and_failed(folder, "--time-limit", "0.7")
    assert {name[3:-4] for name in tagged} == {"fine", "poison", "noise"}
    assert len(tagged) == 2 * 5 and len(failed) == 2 * 4
    assert {reason for name, reason in failed.items() if "hang" in name} == {
        "decoding took more than 0.7 seconds"
    }


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_slow_image_holds_up_no_other_where_order_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "_PROGRAM", hostile.PROGRAM)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / ".good.png").write_bytes(encode(picture(), "PNG"))
    (folder / "00.png").write_text("slow")
    for number in range(1, 40):
        (folder / f"{number:02}.png").write_text("fine")
    options = ["--workers", "2", "--batch-size", "1"]
    names = [f"{number:02}.png" for number in range(40)]
    assert tagged_and_failed(folder, *options) == (names, {})
    tagged, failed = tagged_and_failed(folder, *options, "--unordered")
    assert sorted(tagged) == names and failed == {}
    assert tagged.index("00.png") > 5


def test_decompression_bombs_are_refused(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(huge_png())
    (folder / "b.png").write_bytes(huge_png(13_000))
    (folder / "c.png").write_bytes(encode(picture(), "PNG"))
    tagged, failed = tagged_and_failed(folder, "--memory-limit", "256")
    assert tagged == ["c.png"]
    assert "too large" in failed["a.png"] and "not enough memory" in failed["b.png"]
