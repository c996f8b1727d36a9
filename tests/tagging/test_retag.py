"""Tags made of scores are those that the run itself would have written."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import twlcli
from tests.images.encoded import encode
from tests.tagging.models import SPEC, write_model
from twlcli.errors import ModelError, TwlError
from twlcli.images.image_file import Failure
from twlcli.outputs import Csv, FailureTable, Gallery, ScoreTable, TxtSidecars, XmpSidecars
from twlcli.scoring.score_table import score_groups

pytest.importorskip("pyarrow")

RULES = """
never = ["blue"]
prefix = "auto:"
[aliases]
red = ["rouge", "rot"]
[implications]
green = "plant"
"""
HOSTILE = ["=1+1.png", "a,b.png", "tab\there.png", 'quote".png', "日本.png", "line\nbreak.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("retag")
    write_model(folder / "model.onnx")
    (folder / "rules.toml").write_text(RULES)
    photos = folder / "photos"
    photos.mkdir()
    generator = np.random.default_rng(0)
    names = [f"{number:02}.png" for number in range(40)]
    if os.name == "posix":
        names += [*HOSTILE, os.fsdecode(b"caf\xe9.png")]
    for name in names:
        color = tuple(generator.integers(0, 256, 3).tolist())
        (photos / name).write_bytes(encode(Image.new("RGB", (30, 20), color), "PNG"))
    (photos / "bad.jpg").write_bytes(b"hello")
    twlcli.tag_files(
        [photos], model=folder / "model.onnx", outputs=[ScoreTable(folder / "scores.parquet")]
    )
    return folder


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": "best-f1"},
        {"threshold": "precision=0.9"},
        {"threshold": 0.3},
        {"threshold": 0},
        {"top_k": 2},
        {"top_k": 1, "threshold": "0.6"},
        {"rules": RULES},
        {"rules": RULES, "threshold": 0.2, "top_k": 2},
    ],
    ids=str,
)
def test_the_tags_are_those_of_the_run_itself(folder, tmp_path, options, suffix):
    if "rules" in options:
        options = {**options, "rules": folder / "rules.toml"}
    run, made = tmp_path / f"run.{suffix}", tmp_path / f"made.{suffix}"
    twlcli.tag_files(
        [folder / "photos"],
        model=folder / "model.onnx",
        outputs=[run],
        journal=None,
        batch_size=3,
        **options,
    )
    done = twlcli.retag(folder / "scores.parquet", [made], **options)
    assert made.read_bytes() == run.read_bytes()
    assert done.images == len(list((folder / "photos").iterdir())) - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([run.name, made.name])


def test_labels_that_are_never_given_are_said(folder, tmp_path):
    done = twlcli.retag(folder / "scores.parquet", tmp_path / "a.csv", threshold="precision=0.9")
    assert done.never_given == "1 of 3 labels are never given at precision=0.9: blue"
    assert twlcli.retag(folder / "scores.parquet", tmp_path / "b.csv", top_k=1).never_given == ""


def test_what_cannot_be_written_is_told_before_anything_is(folder, tmp_path):
    scores, out = folder / "scores.parquet", tmp_path / "tags.csv"
    cases: list[tuple[list[Any], str]] = [
        ([], "nothing to write"),
        ([TxtSidecars()], "need the images; `images` names their folder"),
        ([Gallery(tmp_path / "a.html")], "need the images"),
        ([FailureTable(tmp_path / "a.csv")], "need the images"),
        ([ScoreTable(tmp_path / "a.parquet")], "scores are not made of scores"),
        ([scores], "is read by this run"),
        ([out, out], "two outputs name the same file"),
        ([tmp_path / "no" / "tags.csv"], "there is no folder"),
        ([tmp_path / "tags.xml"], r"\.xml"),
    ]
    for outputs, message in cases:
        with pytest.raises(TwlError, match=message):
            twlcli.retag(scores, outputs, force=True)
    with pytest.raises(TwlError, match="is read"):
        twlcli.retag(scores, [Csv(folder / "rules.toml")], rules=folder / "rules.toml", force=True)
    with pytest.raises(ModelError, match=r"precision=0\.7 \(it has: .*0\.9"):
        twlcli.retag(scores, out, threshold="precision=0.7")
    with pytest.raises(TwlError, match="top_k is 0"):
        twlcli.retag(scores, out, top_k=0)
    with pytest.raises(TwlError, match="no such folder"):
        twlcli.retag(scores, out, images=tmp_path / "gone")
    assert not list(tmp_path.iterdir())
    partial = tmp_path / "tags.csv.partial"  # the rows so far of a run that was stopped
    partial.write_text("precious")
    with pytest.raises(TwlError, match="expected a number"):
        twlcli.retag(scores, out, threshold="much")
    assert partial.read_text() == "precious"
    out.write_text("precious")
    with pytest.raises(TwlError, match="exists already"):
        twlcli.retag(scores, out)
    assert out.read_text() == "precious"
    twlcli.retag(scores, out, force=True)
    assert out.read_bytes().startswith(b"image,labels,probabilities\n")


def test_scores_that_end_in_damage_leave_no_table(tmp_path):
    scores = tmp_path / "scores.parquet"
    logits = np.zeros((10_000, 3), np.float32)
    logits[9_999, 1] = np.nan
    with scores.open("wb") as file, score_groups(file, SPEC, "digest") as groups:
        for row in logits:
            groups.add("a.jpg", row)
    with pytest.raises(TwlError, match=r"row 10,000: a logit of 'a\.jpg' is not finite"):
        twlcli.retag(scores, tmp_path / "tags.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_table_of_tags_is_no_file_of_scores(folder, tmp_path):
    tags = tmp_path / "tags.parquet"
    twlcli.retag(folder / "scores.parquet", tags)
    with pytest.raises(TwlError, match="is not a file of scores"):
        twlcli.retag(tags, tmp_path / "tags.csv")


# --- with the images -----------------------------------------------------------------------------


@pytest.fixture
def photos(folder, tmp_path) -> Path:
    """A copy of the images, where files are written beside them."""
    return Path(shutil.copytree(folder / "photos", tmp_path / "photos"))


def sidecars(photos: Path) -> dict[str, bytes]:
    return {
        each.name: each.read_bytes() for each in photos.iterdir() if each.suffix in (".txt", ".xmp")
    }


@pytest.mark.parametrize("options", [{}, {"threshold": 0.2, "top_k": 2}], ids=str)
def test_what_lies_beside_the_images_is_that_of_the_run_itself(folder, tmp_path, photos, options):
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    page, again = tmp_path / "run.html", tmp_path / "made.html"
    run = twlcli.tag_files(
        [photos],
        model=folder / "model.onnx",
        outputs=[XmpSidecars(), TxtSidecars("full"), Gallery(page)],
        journal=None,
        **options,
    )
    failures: list[Failure] = []
    done = twlcli.retag(
        folder / "scores.parquet",
        [XmpSidecars(), TxtSidecars("full"), Gallery(again), tmp_path / "tags.csv"],
        images=other,
        on_failure=failures.append,
        **options,
    )
    assert failures == []
    assert sidecars(other) == sidecars(photos) and len(sidecars(other)) >= 80
    assert again.read_text("utf-8") == page.read_text("utf-8").replace("photos/", "other/")
    assert (done.images, done.tally.sidecars) == (run.tagged, run.sidecars)


def test_xmp_at_another_threshold_replaces_the_tags_of_before(folder, photos):
    scores = folder / "scores.parquet"
    twlcli.retag(scores, [XmpSidecars()], images=photos, threshold=0)
    before = sidecars(photos)
    assert b"<rdf:li>blue" in before["00.png.xmp"]
    done = twlcli.retag(scores, [XmpSidecars()], images=photos, threshold=1)
    assert sidecars(photos) == {}
    assert done.tally.sidecars == len(before)


def test_images_that_are_gone_are_failures(folder, tmp_path, photos):
    (photos / "01.png").unlink()
    (photos / "02.png").unlink()
    (photos / "02.png").mkdir()
    (photos / "03.txt").write_text("by hand")
    failures: list[Failure] = []
    steps: list[tuple[int, int]] = []
    done = twlcli.retag(
        folder / "scores.parquet",
        [tmp_path / "tags.csv", TxtSidecars(), FailureTable(tmp_path / "errors.csv")],
        images=photos,
        on_failure=failures.append,
        progress=lambda tally, total: steps.append((tally.tagged + tally.failed, total)),
    )
    reasons = {each.image: each.reason for each in failures}
    assert reasons == {
        "01.png": f"no such file in {photos}",
        "02.png": f"no such file in {photos}",
        "03.png": "its .txt exists already with other content; force replaces it",
    }
    assert (done.tally.failed, done.tally.unwritten) == (2, 1)
    assert (photos / "03.txt").read_text() == "by hand"
    rows = (tmp_path / "tags.csv").read_text(errors="surrogateescape")
    assert "01.png" not in rows and "03.png" in rows
    assert (tmp_path / "errors.csv").read_text().count("no such file") == 2
    total = len(list((folder / "photos").iterdir())) - 1  # of bad.jpg there are no scores
    assert steps == [(total, total)]


@pytest.mark.skipif(os.name != "posix", reason="links and paths of POSIX")
def test_scores_of_somebody_else_lead_to_nothing_outside_of_the_folder(tmp_path):
    folder, outside = tmp_path / "photos", tmp_path / "outside"
    for each in (folder, outside):
        each.mkdir()
        for name in ("a.jpg", "notes.md"):
            (each / name).write_bytes(b"x")
    (folder / "link").symlink_to(outside)
    (folder / "linked.jpg").symlink_to(outside / "a.jpg")
    names = {
        "../outside/a.jpg": "its name leads out of",
        str(outside / "a.jpg"): "its name leads out of",
        "link/../../outside/a.jpg": "its name leads out of",
        "link/a.jpg": "lies outside of the folder given, over a link",
        "notes.md": "its name is not that of an image",
        "nul\0.jpg": "no such file in",
        "x/../a.jpg": "",
        "linked.jpg": "",  # its sidecar lies in the folder
    }
    scores = tmp_path / "scores.parquet"
    with scores.open("wb") as file, score_groups(file, SPEC, "digest") as groups:
        for name in names:
            groups.add(name, np.array([9.0, -9.0, -9.0], np.float32))
    failures: list[Failure] = []
    twlcli.retag(
        scores,
        [TxtSidecars(existing="replace"), XmpSidecars()],
        images=folder,
        on_failure=failures.append,
    )
    assert [each.image for each in failures] == [name for name in names if names[name]]
    for failure in failures:
        assert names[failure.image] in failure.reason
    assert sorted(each.name for each in outside.iterdir()) == ["a.jpg", "notes.md"]
    assert {"a.txt", "a.jpg.xmp", "linked.txt"} <= {each.name for each in folder.iterdir()}
