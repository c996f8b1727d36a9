import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twlcli
from tests.images.encoded import encode
from tests.tagging.models import SPEC, logits_of, write_model
from twlcli.errors import ImageError, ModelError, TwlError
from twlcli.inference.tagger import Prediction, Tagger

COLORS = [(255, 0, 0), (0, 255, 0), (200, 180, 0), (0, 0, 0), (130, 120, 255)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(len(COLORS))]
    for path, color in zip(paths, COLORS, strict=True):
        path.write_bytes(encode(Image.new("RGB", (30, 20), color), "PNG"))
    return paths


def expected(color: tuple[int, int, int]) -> list[float]:
    """The probabilities from the model's one line, with plain loops."""
    slopes = (1.0, 1.0, 2.0)
    pairs = zip(slopes, logits_of(color), strict=True)
    return [float(1 / (1 + np.exp(-slope * logit))) for slope, logit in pairs]


def test_labels_and_spec_are_the_models(model):
    tagger = twlcli.load_model(model, provider="cpu")
    assert tagger.labels == SPEC.vocabulary.names
    assert tagger.spec == SPEC
    assert repr(tagger) == f"Tagger({str(model)!r})"


def test_every_kind_of_image_gives_the_same(model, photos):
    tagger = twlcli.load_model(model)
    kinds = [
        photos,
        list(map(str, photos)),
        [path.read_bytes() for path in photos],
        [Image.open(path) for path in photos],
        [np.array(Image.open(path)) for path in photos],
    ]
    results = [tagger.predict_proba(images) for images in kinds]
    assert results[0].dtype == np.float32
    np.testing.assert_allclose(results[0], [expected(color) for color in COLORS], rtol=1e-4)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_grey_arrays_and_turned_images_are_understood(model, tmp_path):
    tagger = twlcli.load_model(model)
    grey = np.full((9, 7), 90, dtype=np.uint8)
    same = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(tagger.predict_proba([grey]), tagger.predict_proba([same]))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    half = np.zeros((40, 20, 3), dtype=np.uint8)
    half[:20] = 255
    path = tmp_path / "turned.png"
    Image.fromarray(half).save(path, exif=exif)
    with Image.open(path) as image:
        np.testing.assert_array_equal(tagger.predict_proba([image]), tagger.predict_proba([path]))


def test_tag_gives_labels_and_probabilities_the_most_probable_first(model, photos):
    for color, prediction in zip(COLORS, twlcli.load_model(model).tag(photos), strict=True):
        certain = dict(zip(SPEC.vocabulary.names, expected(color), strict=True))
        assert SPEC.thresholds is not None
        thresholds = zip(SPEC.vocabulary.names, SPEC.thresholds.best_f1, strict=True)
        given = [label for label, threshold in thresholds if certain[label] >= threshold]
        given.sort(key=lambda label: -certain[label])
        assert list(prediction.labels) == given
        assert prediction.error is None
        for label, probability in prediction.to_dict().items():
            assert probability == pytest.approx(certain[label], rel=1e-4)


def test_threshold_and_top_k_choose_labels(model, photos):
    for prediction in twlcli.load_model(model, top_k=2).tag(photos):
        assert len(prediction.labels) == 2
    for prediction in twlcli.load_model(model, threshold=0.0, top_k=1).tag(photos):
        assert len(prediction.labels) == 1
    for prediction in twlcli.load_model(model, threshold="precision=0.9").tag(photos):
        assert set(prediction.labels) <= set(SPEC.vocabulary.names)
    with pytest.raises(TwlError, match="threshold 'often'"):
        twlcli.load_model(model, threshold="often")


def test_an_image_that_cannot_be_read_is_an_error_in_its_place(model, photos, tmp_path):
    images = [
        photos[0],
        tmp_path / "gone.png",
        b"hello",
        np.zeros((3, 4, 4), dtype=np.float32),
        3.5,
        photos[1],
    ]
    tagger = twlcli.load_model(model)
    predictions = tagger.tag(images)
    assert [each.error is None for each in predictions] == [True, False, False, False, False, True]
    assert predictions[1] == Prediction(error="no such file")
    assert "not an image" in str(predictions[2].error)
    assert "array of float32 (3, 4, 4); expected uint8" in str(predictions[3].error)
    assert "is of type float; expected a path" in str(predictions[4].error)
    assert predictions[5] == tagger.tag([photos[1]])[0]
    with pytest.raises(ImageError, match=r"^image 1: no such file$"):
        tagger.predict_proba(images)
    assert [each.error for each in tagger.tag([b""])] == ["the file is empty"]


def test_one_image_alone_is_a_list_of_one(model, photos):
    tagger = twlcli.load_model(model)
    alone = tagger.tag([photos[0]])
    image = Image.open(photos[0])
    for one in (photos[0], str(photos[0]), photos[0].read_bytes(), image, np.asarray(image)):
        assert tagger.tag(one) == alone
    assert tagger.tag(iter(photos)) == tagger.tag(photos)


def test_an_image_without_pixels_costs_no_other(model, photos):
    predictions = twlcli.load_model(model).tag([Image.new("RGB", (0, 5)), photos[0]])
    assert "0 x 5 pixels" in str(predictions[0].error)
    assert predictions[1].error is None


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 2.5}, {"batch_size": -1}])
def test_counts_that_mean_nothing_are_refused(model, options):
    with pytest.raises(twlcli.TwlError, match="expected a whole number of at least 1"):
        twlcli.load_model(model, **options)


def test_no_images_are_no_rows(model):
    tagger = twlcli.load_model(model)
    assert tagger.tag([]) == []
    assert tagger.predict_proba([]).shape == (0, len(tagger.labels))


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches_change_nothing(model, photos, batch_size):
    tagger = twlcli.load_model(model, batch_size=batch_size)
    found = tagger.predict_proba(photos * 3)
    np.testing.assert_allclose(found, [expected(color) for color in COLORS * 3], rtol=1e-4)


def test_a_tagger_travels_to_other_processes(model, photos):
    tagger = twlcli.load_model(model, top_k=1)
    before = tagger([path.read_bytes() for path in photos])
    packed = pickle.dumps(tagger)
    assert len(packed) < 1000  # without the model itself
    assert pickle.loads(packed)([path.read_bytes() for path in photos]) == before
    lazy = Tagger(model.with_name("gone.onnx"))
    assert pickle.loads(pickle.dumps(lazy)).tag is not None
    with pytest.raises(ModelError, match=r"gone\.onnx: no such model file"):
        lazy.tag(photos)


def test_threads_may_share_a_tagger(model, photos):
    from concurrent.futures import ThreadPoolExecutor

    tagger = twlcli.load_model(model)
    expected = tagger.tag(photos)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tagger.tag, [photos] * 8)) == [expected] * 8


def test_what_is_not_a_model_is_said_when_it_is_loaded(tmp_path, model):
    with pytest.raises(ModelError, match="no such model"):
        twlcli.load_model(tmp_path / "gone")
    with pytest.raises(TwlError, match="runs in ONNX Runtime; use `provider`"):
        twlcli.load_model(model, device="cpu")


def test_a_run_is_a_model_too(trained_run, photographs):
    run = trained_run
    tagger = twlcli.load_model(run.folder, device="cpu")
    again = twlcli.load_model(run.checkpoint, device="cpu")
    images = [photographs.parent / f"{number}.png" for number in range(3)]
    np.testing.assert_array_equal(tagger.predict_proba(images), again.predict_proba(images))
    assert tagger.tag(images) == again.tag(images)
