import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.images.arrays import load
from tests.images.encoded import noise
from tests.scoring.drawn import draw_logits
from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.images.decoding import Decoding
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.model.decisions import probabilities
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.scoring.evaluation import TOP, check_scorable, epoch_scores, score
from twlcli.scoring.fit import fit

COLORS = ModelSpec(
    Vocabulary(("red", "green", "blue")),
    "mean-color",
    Preprocessing(resize=8, crop=8),
    Calibration((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    Thresholds((0.5, 0.5, 0.5), {"0.9": (0.5, 0.5, 1.01)}),
)


class MeanColor:
    """A predictor whose logits are the mean of each channel, from -1 to 1."""

    spec = COLORS
    batch_size = 2

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        means = images.mean(axis=(1, 2)) / 127.5 - 1
        return np.asarray(means, dtype=np.float32)


@pytest.fixture
def photos(tmp_path):
    """Six plain pictures, labelled with their colours, though not in the model's order."""
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0), (255, 0, 255)]
    vocabulary = Vocabulary(("blue", "green", "red"))
    targets = np.array([[b, g, r] for r, g, b in colors]) // 255
    for number, color in enumerate(colors):
        Image.new("RGB", (10, 8), color).save(tmp_path / f"{number}.png")
    return Annotations(
        source=tmp_path / "labels.csv",
        format="csv",
        root=tmp_path,
        images=tuple(f"{number}.png" for number in range(6)),
        labels=LabelMatrix.from_dense(targets.astype(np.int8)),
        vocabulary=vocabulary,
        splits=("",) * 6,
    )


def evaluated(predictor, photos, **options):
    scored = score_images(predictor, photos, **options)
    return score(scored, predictor.spec)


def scored_of(logits, targets) -> ScoredImages:
    return ScoredImages(tuple(map(str, range(len(logits)))), logits, targets)


@pytest.mark.parametrize("exact", [False, True])
def test_predict_decodes_as_it_is_told(tmp_path, photos, exact):
    names = tuple(f"{number}.jpg" for number in range(6))
    for name in names:
        noise(400, 300).save(tmp_path / name)
    scored = score_images(
        MeanColor(),
        replace(photos, images=names),
        batch_size=2,
        workers=1,
        decoding=Decoding(exact),
    )
    pixels = [
        load(tmp_path / names[0], COLORS.preprocessing, exact=each) for each in (exact, not exact)
    ]
    right, wrong = (MeanColor()(each[None])[0] for each in pixels)
    assert (scored.logits == right).all() and not (right == wrong).all()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("workers", [1, 3])
def test_predict_scores_every_image_in_order(photos, batch_size, workers):
    predictor = MeanColor()
    done: list[int] = []
    scored = score_images(
        predictor, photos, batch_size=batch_size, workers=workers, progress=done.append
    )
    assert scored.images == photos.images
    assert scored.targets.tolist() == photos.labels.dense()[:, ::-1].tolist()
    np.testing.assert_array_equal(scored.logits, 2 * scored.targets - 1)
    assert sum(done) == 6
    assert max(predictor.batches) <= batch_size


def test_evaluate_of_a_perfect_model(photos):
    evaluation = evaluated(MeanColor(), photos, batch_size=4, workers=2)
    assert (evaluation.images, evaluation.unreadable) == (6, ())
    assert evaluation.map_class.value == evaluation.map_sample.value == 1
    assert (evaluation.map_class.lines, evaluation.map_sample.left_out) == (3, 1)  # black: no label
    assert evaluation.at_threshold.overall_f1 == evaluation.at_threshold.class_f1 == 1
    assert evaluation.at_top.overall_precision == pytest.approx(7 / 18)
    assert [row.label for row in evaluation.labels] == ["red", "green", "blue"]
    assert [row.support for row in evaluation.labels] == [3, 2, 2]
    assert evaluation.brier == pytest.approx((1 / (1 + math.e)) ** 2)


def test_evaluate_leaves_unreadable_images_out_and_names_them(photos, tmp_path):
    (tmp_path / "1.png").write_bytes(b"not a picture")
    (tmp_path / "4.png").unlink()
    evaluation = evaluated(MeanColor(), photos, batch_size=2, workers=2)
    assert evaluation.images == 4
    assert [each.image for each in evaluation.unreadable] == ["1.png", "4.png"]
    assert all(each.reason for each in evaluation.unreadable)
    assert [row.support for row in evaluation.labels] == [3, 1, 2]
    assert evaluation.map_class.value == 1


def test_evaluate_refuses_when_no_image_can_be_read(photos, tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"not a picture")
    with pytest.raises(AnnotationError, match=r"none of the 6 images can be read.*0\.png: "):
        evaluated(MeanColor(), photos, batch_size=2, workers=1)


def test_evaluate_says_where_missing_images_were_looked_for(photos, tmp_path):
    elsewhere = replace(photos, root=tmp_path / "elsewhere")
    with pytest.raises(AnnotationError, match="elsewhere"):
        evaluated(MeanColor(), elsewhere, batch_size=2, workers=1)


def test_evaluate_refuses_no_images(photos):
    with pytest.raises(AnnotationError, match="no images"):
        evaluated(MeanColor(), photos.select([]), batch_size=2, workers=1)


def test_evaluate_refuses_labels_that_the_model_does_not_know(photos):
    other = replace(photos, vocabulary=Vocabulary(("blue", "green", "rde")))
    with pytest.raises(AnnotationError, match="'rde' is not in the vocabulary; did you mean 'red'"):
        evaluated(MeanColor(), other, batch_size=2, workers=1)


def test_threshold_and_calibration_are_checked_without_images():
    check_scorable(COLORS, None)
    with pytest.raises(TwlError, match="expected a number"):
        check_scorable(COLORS, "often")
    with pytest.raises(ModelError, match="no calibration"):
        check_scorable(replace(COLORS, calibration=None), 0.5)


def test_score_is_that_of_plain_loops():
    logits, targets = draw_logits(images=120, labels=5)
    spec = replace(COLORS, vocabulary=Vocabulary(tuple("abcde")))
    spec = fit(logits, targets, spec)
    assert spec.calibration is not None
    assert spec.thresholds is not None
    evaluation = score(scored_of(logits, targets), spec)
    rows, true = logits.tolist(), targets.tolist()
    certain = probabilities(logits, spec.calibration).tolist()
    decisions = [
        [p >= t for p, t in zip(row, spec.thresholds.best_f1, strict=True)] for row in certain
    ]
    by_image = [reference.average_precision(s, t) for s, t in zip(rows, true, strict=True)]
    counted = [value for value in by_image if value is not None]
    assert evaluation.map_sample.value == pytest.approx(sum(counted) / len(counted))
    assert evaluation.map_sample.left_out == by_image.count(None)
    columns = zip(zip(*rows, strict=True), zip(*true, strict=True), strict=True)
    by_label = [reference.average_precision(list(s), list(t)) for s, t in columns]
    assert [row.average_precision for row in evaluation.labels] == pytest.approx(by_label)
    for found, made in (
        (evaluation.at_threshold, decisions),
        (evaluation.at_top, [reference.top(row, TOP) for row in certain]),
    ):
        expected = reference.decision_scores(made, true)
        assert list(vars(found).values()) == pytest.approx(expected)
    assert evaluation.brier == pytest.approx(reference.brier(certain, true))
    error = reference.calibration_error(certain, true, 15)
    assert evaluation.calibration_error == pytest.approx(error)
    assert [row.unknown for row in evaluation.labels] == (targets == -1).sum(axis=0).tolist()
    for row, (correct, given, present) in zip(
        evaluation.labels, reference.counts(decisions, true), strict=True
    ):
        assert (row.precision, row.recall) == pytest.approx((correct / given, correct / present))
        assert row.f1 == pytest.approx(2 * correct / (given + present))
        assert row.support == present


@pytest.mark.parametrize(("labels", "ranks"), [(2, [1]), (5, [1]), (6, [1, 5])])
def test_score_of_images_with_one_label_each_has_their_accuracy(labels, ranks):
    logits, _ = draw_logits(images=60, labels=labels)
    classes = np.arange(60) % labels
    targets = np.eye(labels, dtype=np.int8)[classes]
    spec = fit(logits, targets, replace(COLORS, vocabulary=Vocabulary(tuple("abcdef"[:labels]))))
    found = score(scored_of(logits, targets), spec).top_accuracy
    assert list(found) == ranks
    assert found[1] == (logits.argmax(axis=1) == classes).mean()
    kept = epoch_scores(scored_of(logits, targets))
    assert kept["top_1"] == found[1] and ("top_5" in kept) == (labels == 6)
    targets[0] = 1
    assert score(scored_of(logits, targets), spec).top_accuracy == {}
    assert set(epoch_scores(scored_of(logits, targets))) == {"map_class", "map_sample"}


def test_score_at_a_stored_precision():
    logits = np.array([[1.0, 1.0, 9.0]], dtype=np.float32)
    evaluation = score(
        scored_of(logits, np.ones((1, 3), dtype=np.int8)), COLORS, threshold="precision=0.9"
    )
    assert evaluation.threshold == "precision=0.9"
    assert [row.recall for row in evaluation.labels] == [1, 1, 0]
    assert evaluation.labels[2].threshold > 1


def test_score_of_a_label_without_positives_is_nan_and_counted():
    targets = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.int8)
    evaluation = score(scored_of(np.zeros((2, 3), dtype=np.float32), targets), COLORS)
    assert math.isnan(evaluation.labels[2].average_precision)
    assert (evaluation.map_class.lines, evaluation.map_class.left_out) == (2, 1)


def test_score_needs_a_calibration():
    spec = replace(COLORS, calibration=None)
    with pytest.raises(ModelError, match="no calibration"):
        score(scored_of(np.zeros((1, 3), dtype=np.float32), np.ones((1, 3), dtype=np.int8)), spec)


def test_score_refuses_logits_that_are_not_finite():
    with pytest.raises(ModelError, match="not finite"):
        logits = np.full((1, 3), np.nan, np.float32)
        score(scored_of(logits, np.ones((1, 3), dtype=np.int8)), COLORS)
