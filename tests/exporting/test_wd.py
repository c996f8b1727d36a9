"""Folders for WD taggers' programs, read by a plain one and by twl."""

import csv
import math

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.exporting.finished import LABELS, RESIZE, finished
from tests.images.encoded import noise, picture
from twlcli.exporting.bundle import export_bundle
from twlcli.exporting.wd import warps
from twlcli.inference.tagger import load_model
from twlcli.model.preprocessing import Preprocessing

SQUARES = [
    *(picture(RESIZE, RESIZE).rotate(turn) for turn in (0, 90, 180)),
    noise(RESIZE, RESIZE),
    Image.new("RGB", (RESIZE, RESIZE), "navy"),
    Image.new("RGB", (RESIZE, RESIZE), "orange"),
]
LARGER = [picture(200, 200), noise(30, 30).resize((150, 150))]


@pytest.fixture(
    scope="module",
    params=[
        Preprocessing(RESIZE, 64, "bicubic"),
        pytest.param(Preprocessing(64, 64), marks=pytest.mark.slow),
    ],
)
def made(request, tmp_path_factory):
    """A model some of whose tags each image has, and the bundle of it."""
    folder = tmp_path_factory.mktemp("wd")
    drawn = {"preprocessing": request.param, "scale": 10}  # no probability is near 0 or 1
    source = finished(folder, "resnet18", **drawn)
    likely = load_model(source, device="cpu").predict_proba(resized(source))
    second, third = np.sort(likely, axis=0)[1:3]
    assert (third - second)[:3].min() > 1e-3
    thresholds = (*((second + third) / 2)[:3].tolist(), 1.01, 0.0)
    finished(folder, "resnet18", thresholds=thresholds, **drawn)
    return source, export_bundle(source, "wd", folder / "bundle")


def resized(source) -> list[Image.Image]:
    """The squares at the size that the model resizes to, so that nobody resamples them."""
    side = load_model(source, device="cpu").spec.preprocessing.resize
    return [image.resize((side, side)) for image in SQUARES]


def scores_of(folder, image: Image.Image) -> dict[str, float]:
    """As programs for WD taggers read a model."""
    with (folder / "selected_tags.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given_,) = session.get_inputs()
    side = given_.shape[1]
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), (255, 255, 255))
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    (scores,) = session.run(None, {given_.name: pixels[None, :, :, ::-1]})
    return dict(zip(names, scores[0].tolist(), strict=True))


def test_one_threshold_gives_squares_the_tags_of_twl(made):
    source, bundle = made
    own = load_model(source, device="cpu")
    images = resized(source)
    if own.spec.preprocessing.interpolation == "bicubic":
        images += LARGER
    tags = [set(each.labels) for each in own.tag(images)]
    for image, expected in zip(images, tags, strict=True):
        scores = scores_of(bundle.folder, image)
        assert list(scores) == list(LABELS)
        assert {name for name, score in scores.items() if score >= 0.35} == expected
    assert all("always" in each and "never" not in each for each in tags)
    for name in LABELS[:3]:
        assert 0 < sum(name in each for each in tags) < len(tags)


def test_scores_are_warped_probabilities(made):
    source, bundle = made
    own = load_model(source, device="cpu")
    image = resized(source)[0]
    assert own.spec.thresholds is not None
    thresholds = own.spec.thresholds.best_f1
    scores = scores_of(bundle.folder, image)
    (row,) = own.predict_proba(image)
    for name, p, t in zip(LABELS[:3], row[:3].tolist(), thresholds[:3], strict=True):
        logit = math.log(p / (1 - p)) - math.log(t / (1 - t)) + math.log(0.35 / 0.65)
        assert scores[name] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-4)
    assert scores["never"] == pytest.approx(0.3 * row[3], abs=1e-4)
    assert scores["always"] == pytest.approx(0.4 + 0.6 * row[4], abs=1e-4)


def test_twl_reads_it_as_a_wd_tagger(made):
    _, bundle = made
    tagger = load_model(bundle.folder)
    assert tagger.labels == LABELS
    images = [*SQUARES, picture(90, 50)]
    for image, found in zip(images, tagger.tag(images), strict=True):
        scores = scores_of(bundle.folder, image)
        expected = {name for name, score in scores.items() if score >= 0.35}
        assert set(found.labels) == expected


def test_files_say_nothing_of_twl(made):
    _, bundle = made
    assert (bundle.folder / "selected_tags.csv").read_text(encoding="utf-8") == (
        "tag_id,name,category,count\n"
        '0,cat,0,0\n1,dog | hound,0,0\n2,"<été>, *red*",0,0\n3,never,0,0\n4,always,0,0\n'
    )
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    assert "twl.spec" not in session.get_modelmeta().custom_metadata_map
    assert session.get_inputs()[0].type == "tensor(float)"
    assert "white square" in bundle.note


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-6, 1 - 1e-6))
def test_a_score_reaches_the_threshold_where_the_probability_does(p, t):
    (warp,) = warps(np.array([t]))
    score = 1 / (1 + math.exp(-(math.log(p) - math.log1p(-p) + warp)))
    if abs(p - t) > 1e-9:
        assert (score >= 0.35) == (p >= t)


def test_thresholds_at_the_ends_stay_finite():
    assert np.isfinite(warps(np.array([1.0, 1e-38, 0.0, 1.01, 1e30]))).all()
