"""The snippet of docs/service.md, which knows nothing of twl, gives twl's own probabilities."""

import json

import numpy as np
import onnx
import pytest
from PIL import ExifTags, Image

import twlcli
from tests.documents import ROOT, blocks_of
from twlcli.model.bundled import model_path
from twlcli.model.spec import SPEC_KEY

(SNIPPET,) = (
    block.text for block in blocks_of(ROOT / "docs/service.md") if block.title == "service.py"
)
SIZES = [(97, 131), (131, 97), (250, 333), (64, 64), (1000, 301), (31, 30), (613, 919), (100, 157)]


@pytest.fixture(params=[(96, "bilinear"), (97, "bilinear"), (110, "bicubic"), (150, "bilinear")])
def service(request, tmp_path, monkeypatch):
    """The names in the snippet, beside a model with the given resize and interpolation."""
    resize, interpolation = request.param
    model = onnx.load(model_path("shapes-small"))
    spec = {each.key: each.value for each in model.metadata_props}
    fields = json.loads(spec[SPEC_KEY])
    fields["preprocessing"] |= {"resize": resize, "interpolation": interpolation}
    onnx.helper.set_model_props(model, {**spec, SPEC_KEY: json.dumps(fields)})
    onnx.save(model, tmp_path / "shapes.onnx")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "service"}
    exec(compile(SNIPPET, "service.py", "exec"), names)
    return names


@pytest.fixture
def paths(tmp_path):
    """Images of odd proportions, each turned another way by its EXIF orientation."""
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.jpg" for number in range(len(SIZES))]
    for orientation, (path, (width, height)) in enumerate(zip(paths, SIZES, strict=True), start=1):
        small = generator.integers(0, 256, (7, 5, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = orientation
        image.save(path, exif=exif, quality=95)
    return paths


def test_probabilities_are_those_of_twl(service, paths):
    tagger = twlcli.load_model("shapes.onnx", exact=True)
    np.testing.assert_allclose(
        service["probabilities"](paths), tagger.predict_proba(paths), rtol=1e-5, atol=1e-6
    )


def test_tags_are_those_of_twl(service, paths):
    tagger = twlcli.load_model("shapes.onnx", exact=True)
    for path, prediction in zip(paths, tagger.tag(paths), strict=True):
        assert service["tags"](path).keys() == prediction.to_dict().keys()
