"""An evaluation of scores on disk is that of the model itself."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import twlcli
from tests.tagging.models import SPEC, write_model
from twlcli.errors import AnnotationError, TwlError
from twlcli.outputs import ScoreTable
from twlcli.scoring.score_table import score_groups

pytest.importorskip("pyarrow")


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model.onnx")


def scored(model: Path, paths: list[Path], out: Path) -> Path:
    twlcli.tag_files(paths, model=model, outputs=[ScoreTable(out)], journal=None, force=True)
    return out


def written(path: Path, *names: str) -> Path:
    with path.open("wb") as file, score_groups(file, SPEC, "digest") as groups:
        for number, name in enumerate(names):
            groups.add(name, np.array([number, 1, -1], np.float32))
    return path


@pytest.mark.parametrize("threshold", [None, "precision=0.9", 0.3])
def test_the_figures_are_those_of_the_model(model, photographs, tmp_path, threshold):
    scores = scored(model, [photographs.parent], tmp_path / "scores.parquet")
    for split in ("val", "all"):
        options = {"split": split, "threshold": threshold}
        assert twlcli.evaluate(scores, photographs, **options) == twlcli.evaluate(
            model, photographs, **options
        )


def test_scores_and_report_are_written_too(model, photographs, tmp_path):
    scores = scored(model, [photographs.parent], tmp_path / "scores.parquet")
    written = {}
    for name, source in (("model", model), ("scores", scores)):
        table, page = tmp_path / f"{name}.csv", tmp_path / f"{name}.html"
        twlcli.evaluate(source, photographs, scores=table, report=page)
        written[name] = table.read_bytes()
        assert page.stat().st_size > 10_000
    assert written["model"] == written["scores"]


def test_images_are_found_by_the_ends_of_their_paths(model, tmp_path):
    photos = tmp_path / "data" / "photos"
    photos.mkdir(parents=True)
    for name, color in {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255)}.items():
        Image.new("RGB", (20, 16), color).save(photos / f"{name}.png")
    labels = tmp_path / "data" / "labels.csv"
    labels.write_text("image,labels\nphotos/r.png,red\nphotos/g.png,green\nphotos/b.png,blue\n")
    expected = twlcli.evaluate(model, labels)
    for paths in ([photos], [tmp_path / "data"], [photos / "b.png", photos]):
        scores = scored(model, paths, tmp_path / "scores.parquet")
        found = twlcli.evaluate(scores, labels)
        assert replace(found, unreadable=()) == expected


def labels_of(folder: Path, *names: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("image,labels\n" + "".join(f"{name},red\n" for name in names))
    return path


def test_images_without_scores_are_listed(tmp_path):
    scores = written(tmp_path / "scores.parquet", "a.jpg", "c.jpg", "other.jpg")
    evaluation = twlcli.evaluate(scores, labels_of(tmp_path, "a.jpg", "b.jpg", "c.jpg"))
    assert evaluation.images == 2
    (missing,) = evaluation.unreadable
    assert (missing.image, missing.reason) == ("b.jpg", f"has no scores in {scores}")


def test_the_same_name_counts_before_the_end_of_a_path(tmp_path):
    labels = labels_of(tmp_path, "a.jpg", "b.jpg")
    for names in permutations(("x/a.jpg", "y/a.jpg", "b.jpg")):
        evaluation = twlcli.evaluate(written(tmp_path / "scores.parquet", *names), labels)
        assert [each.image for each in evaluation.unreadable] == ["a.jpg"]
    scores = written(tmp_path / "scores.parquet", "x/a.jpg", "y/a.jpg", "x/b.jpg")
    with pytest.raises(AnnotationError, match=r"'a\.jpg' may be 'x/a\.jpg' or 'y/a\.jpg'"):
        twlcli.evaluate(scores, labels)


def test_what_is_wrong_is_one_line(tmp_path, photographs):
    scores = written(tmp_path / "scores.parquet", "1.jpg")
    cases: list[tuple[Path, Path | None, dict[str, Any], str]] = [
        (scores, labels_of(tmp_path, "x/1.jpg", "y/1.jpg"), {}, r"may be 'x/1\.jpg' or 'y/1\.jpg'"),
        (scores, photographs, {}, r"none of its 10 images has scores .* a name there is '1\.jpg'"),
        (scores, photographs, {"provider": "cpu"}, "no model runs"),
        (scores, photographs, {"threshold": "recall=0.8"}, "it has: best-f1, precision=0.9"),
        (tmp_path / "gone.parquet", photographs, {}, "no such file"),
        (scores, None, {}, "does not say what it was trained on"),
    ]
    for source, labels, options, message in cases:
        with pytest.raises(TwlError, match=message) as caught:
            twlcli.evaluate(source, labels, **options)
        assert "\n" not in str(caught.value)
