import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.images.encoded import encode
from tests.tagging.models import write_model
from twlcli.cli.app import app
from twlcli.outputs import Review


def twl(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    folder: Path = tmp_path
    photos = folder / "photos"
    photos.mkdir()
    for number in range(12):
        colour = (20 * number, 250 - 20 * number, 100 + (number * 37) % 100)
        picture = Image.new("RGB", (30, 20), colour)
        (photos / f"{number}.png").write_bytes(encode(picture, "PNG"))
    write_model(tmp_path / "model.onnx")
    monkeypatch.chdir(folder)
    return folder


def names_in(page: str) -> list[str]:
    found = re.search(
        r'<script id="data-images"[^>]*>(.*?)</script>', Path(page).read_text("utf-8")
    )
    assert found is not None
    return [name for name, *_ in json.loads(found[1])]


def test_from_unlabelled_images_to_labels(folder):
    done = twl("review", "model.onnx", "photos", "--count", "5")
    assert done.exit_code == 0
    *_, summary, last = done.stderr.splitlines()
    assert summary.startswith("twl: 12 images: 12 tagged, 0 failed, in ")
    assert last == (
        "twl: review.html: 5 of 12 images; open it in a browser; what you say there it saves as "
        "corrections.csv"
    )
    first = names_in("review.html")
    assert len(first) == 5
    title = re.search(r"<h1>.*</h1>", Path("review.html").read_text("utf-8"))
    assert title is not None and title[0] == "<h1><bdi>Review of photos</bdi></h1>"
    lines = [f"{name},red,{'present' if int(name[:-4]) > 6 else 'absent'}" for name in first]
    Path("corrections.csv").write_text("\n".join(("image,label,verdict", *lines)) + "\n")
    labels = ("--labelled", "corrections.csv", "--images", "photos", "--count", "100")
    again = twl("review", "model.onnx", "photos", *labels)
    assert again.exit_code == 0
    rest = names_in("review.html")
    assert sorted([*first, *rest]) == sorted(f"{number}.png" for number in range(12))
    rows = "".join(f"{number}.png,red\n" for number in range(12))
    Path("photos/labels.csv").write_text(f"image,labels\n{rows}")
    nothing = twl("review", "model.onnx", "photos", "--labelled", "photos/labels.csv")
    assert nothing.stderr.endswith("twl: review.html: 0 of 0 images; there is nothing to label\n")
    shown = twl("data", "show", "corrections.csv", "--images", "photos")
    assert shown.exit_code == 0
    assert "corrections.csv (corrections)" in shown.stdout


def test_the_same_command_continues(folder):
    first = twl("review", "model.onnx", "photos")
    again = twl("review", "model.onnx", "photos", "--count", "3")
    assert first.exit_code == again.exit_code == 0
    assert "12 images, 12 of them in an earlier run: 12 tagged" in again.stderr
    assert len(names_in("review.html")) == 3


def test_scores_on_disk_give_the_same_page(folder):
    pytest.importorskip("pyarrow")
    for command in (
        ("review", "model.onnx", "photos", "--count", "7"),
        ("tag", "photos", "--model", "model.onnx", "--scores", "scores.parquet"),
        ("review", "scores.parquet", "photos", "--count", "7", "--out", "other.html"),
    ):
        assert twl(*command).exit_code == 0
    assert Path("other.html").read_text("utf-8") == Path("review.html").read_text("utf-8")
    Path("photos/3.png").unlink()
    again = twl("review", "scores.parquet", "photos", "--out", "other.html", "--force")
    assert again.exit_code == 3
    assert again.stderr.splitlines()[0].startswith("twl: failed: 3.png: no such file in ")
    assert len(names_in("other.html")) == 11
    useless = twl("review", "scores.parquet", "photos", "--exclude", "1*", "--force")
    assert useless.stderr == (
        "twl: error: --exclude has no meaning with scores: all their images are taken\n"
    )
    refused = twl("review", "scores.parquet", "photos", "photos/a")
    assert refused.exit_code == 2
    assert "scores.parquet: holds scores; expected the one folder" in refused.stderr


def test_a_page_that_is_not_its_own_is_kept(folder):
    Path("review.html").write_text("mine")
    refused = twl("review", "model.onnx", "photos")
    assert refused.exit_code == 2
    assert refused.stderr == "twl: error: review.html: exists already; use --force to replace it\n"
    assert Path("review.html").read_text() == "mine"
    assert twl("review", "model.onnx", "photos", "--force").exit_code == 0


def test_images_that_cannot_be_read_are_listed(folder):
    Path("photos/bad.png").write_bytes(b"\x89PNG nothing")
    done = twl("review", "model.onnx", "photos", "--errors", "errors.csv")
    assert done.exit_code == 3
    assert "failed: bad.png: " in done.stderr
    assert Path("errors.csv").read_text().startswith("image,error\nbad.png,")
    assert len(names_in("review.html")) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "photos"], "--images requires --labelled"),
        (["--labelled", "gone.csv"], "gone.csv: no such file or folder"),
        (["--count", "3000"], "count is 3,000; expected at most 2,000"),
        (["--journal", "j", "--no-journal"], "--journal and --no-journal cannot be combined"),
        (["--out", "-"], "-: expected a name that ends in .html"),
        (["--out", "model.onnx"], "model.onnx: expected a name that ends in .html"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, folder):
    result = twl("review", "model.onnx", "photos", *arguments)
    assert result.exit_code == 2
    assert result.stderr == f"twl: error: {message}\n"


def test_it_is_an_output_of_tag_files_too():
    assert Review(Path("r.html")).count == 200
