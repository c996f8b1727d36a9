"""Danbooru taggers, against the steps of their authors' own programs."""

import json
import re
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from tests.images.encoded import encode, noise, picture
from tests.model.foreign.graphs import write_graph
from twlcli.errors import ModelError
from twlcli.inference.tagger import load_model
from twlcli.model.load import load_predictor
from twlcli.tagging.run import tag_files

SIDE = 64
TAGS = "tag_id,name,category,count\n1,general,9,10\n2,explicit,9,3\n3,1girl,0,9\n4,a_(b),4,8\n"
MAPPING = {
    "0": {"tag": "general", "category": "Rating"},
    "1": {"tag": "1girl", "category": "General"},
    "2": {"tag": "someone", "category": "Character"},
}


@pytest.fixture(scope="module")
def wd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wd-tagger")
    write_graph(
        folder / "model.onnx",
        labels=4,
        side=SIDE,
        channels_first=False,
        ending="Sigmoid",
        scale=0.002,
    )
    (folder / "selected_tags.csv").write_text(TAGS)
    return folder


def square(image: Image.Image) -> Image.Image:
    """On white, in the middle of a white square, resized bicubically."""
    canvas = Image.new("RGBA", image.size, (255, 255, 255))
    canvas.alpha_composite(image.convert("RGBA"))
    image = canvas.convert("RGB")
    longest = max(image.size)
    padded = Image.new("RGB", (longest, longest), (255, 255, 255))
    padded.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    return padded.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def run(model, values):
    session = onnxruntime.InferenceSession(model)
    return session.run(None, {"input": values[None].astype(np.float32)})[0][0]


IMAGES = {
    "wide.png": picture(200, 90),
    "tall.png": noise(70, 181),
    "clear.png": picture(90, 90).convert("RGBA").point(lambda level: level // 2),
    "small.png": picture(20, 31),
}


@pytest.mark.parametrize("name", IMAGES)
def test_probabilities_are_those_of_the_authors_code(wd, name, tmp_path):
    (tmp_path / name).write_bytes(encode(IMAGES[name], "PNG"))
    expected = run(wd / "model.onnx", np.asarray(square(IMAGES[name]), np.float32)[:, :, ::-1])
    for source in (wd, wd / "model.onnx"):
        found = load_model(source).predict_proba([tmp_path / name])[0]
        assert np.abs(found - expected).max() < 1e-3


def test_labels_and_thresholds_are_those_of_the_table(wd, tmp_path):
    spec = load_predictor(wd).spec
    assert spec.vocabulary.names == ("rating:general", "rating:explicit", "1girl", "a_(b)")
    assert spec.thresholds is not None
    assert spec.thresholds.best_f1 == (0.5, 0.5, 0.35, 0.85)
    assert spec.provenance == {"made_by": "WD tagger"}


def test_a_folder_is_tagged_with_journal_and_sidecars(wd, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, image in IMAGES.items():
        (photos / name).write_bytes(encode(image, "PNG"))
    out = tmp_path / "tags.csv"
    first = tag_files([photos], model=wd, outputs=[out], threshold=0.01)
    assert (first.tagged, first.failed) == (4, 0)
    rows = out.read_text()
    again = tag_files([photos], model=wd, outputs=[out], threshold=0.01)
    assert (again.stored, out.read_text()) == (4, rows)
    assert "1girl" in rows
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.onnx").write_bytes((wd / "model.onnx").read_bytes())
    (other / "selected_tags.csv").write_text(TAGS.replace("1girl", "2girls"))
    anew = tag_files([photos], model=other, outputs=[out], threshold=0.01, force=True)
    assert anew.stored == 0 and "2girls" in out.read_text()


def test_a_model_for_one_image_takes_several(tmp_path):
    for batch in (1, 3):
        folder = tmp_path / str(batch)
        for each, images_at_once in ((folder, batch), (tmp_path / "free", "N")):
            write_graph(
                each / "model.onnx",
                labels=4,
                side=SIDE,
                channels_first=False,
                ending="Sigmoid",
                batch=images_at_once,
                scale=0.002,
            )
            (each / "selected_tags.csv").write_text(TAGS)
        images = np.random.default_rng(0).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)
        fixed, expected = load_predictor(folder), load_predictor(tmp_path / "free")
        assert fixed.batch_size == batch
        np.testing.assert_allclose(fixed(images), expected(images), atol=1e-5)


@pytest.mark.parametrize("form", ["plain", "two tables"])
def test_cl_taggers_take_values_around_zero(form, tmp_path):
    write_graph(tmp_path / "model_optimized.onnx", labels=3, side=SIDE, channels_first=True)
    mapping: dict[str, Any] = dict(MAPPING)
    if form == "two tables":
        mapping = {
            "idx_to_tag": {key: each["tag"] for key, each in MAPPING.items()},
            "tag_to_category": {each["tag"]: each["category"] for each in MAPPING.values()},
        }
    (tmp_path / "tag_mapping.json").write_text(json.dumps(mapping))
    (tmp_path / "a.png").write_bytes(encode(IMAGES["wide.png"], "PNG"))
    values = np.asarray(square(IMAGES["wide.png"]), np.float32).transpose(2, 0, 1)[::-1] / 255
    expected = 1 / (1 + np.exp(-run(tmp_path / "model_optimized.onnx", (values - 0.5) / 0.5)))
    tagger = load_model(tmp_path)
    assert tagger.labels == ("rating:general", "1girl", "someone")
    assert tagger.spec.thresholds is not None
    assert tagger.spec.thresholds.best_f1 == (0.5, 0.35, 0.45)
    assert np.abs(tagger.predict_proba([tmp_path / "a.png"])[0] - expected).max() < 1e-3


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("name,category\na,0\n", "gives output ['N', 4]; expected 1 values for the 1 labels"),
        ("id,tag\n1,a\n", "expected the columns tag_id, name, category and count"),
        (TAGS.replace("explicit", "general"), "general"),
        ("name,category\na,0\nb,\n", ":3: expected a name and a category"),
        ("name,category\n\xff", "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_table_is_one_line(wd, tags, message, tmp_path):
    (tmp_path / "model.onnx").write_bytes((wd / "model.onnx").read_bytes())
    (tmp_path / "selected_tags.csv").write_bytes(tags.encode("latin-1"))
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_predictor(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_that_no_model_has_is_not_read(wd, tmp_path):
    (tmp_path / "model.onnx").write_bytes((wd / "model.onnx").read_bytes())
    with (tmp_path / "selected_tags.csv").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(ModelError, match="the limit is 67,108,864"):
        load_predictor(tmp_path)
