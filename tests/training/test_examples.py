from dataclasses import replace

import numpy as np

from tests.scoring.drawn import draw_logits
from twlcli.inference.scored import ScoredImages
from twlcli.labels import Vocabulary
from twlcli.model.decisions import calibration_of, probabilities, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.scoring.fit import fit
from twlcli.training import examples
from twlcli.training.examples import MOST, quickly_fitted, worst_examples


def drawn(*, images=60, labels=4):
    logits, targets = draw_logits(images=images, labels=labels, unknown=0.1)
    names = Vocabulary(tuple(f"label {number}" for number in range(labels)))
    spec = ModelSpec(names, "drawn", Preprocessing(resize=16, crop=12))
    return ScoredImages(tuple(f"{n}.png" for n in range(images)), logits, targets), spec


def test_examples_are_mistakes_and_each_image_comes_once():
    scored, spec = drawn()
    spec = fit(scored.logits, scored.targets, spec)
    found = worst_examples(scored, spec)
    certain = probabilities(scored.logits, calibration_of(spec))
    thresholds = thresholds_of(spec, None)
    assert 4 <= len(found) <= MOST
    assert len({each.image for each in found}) == len(found)
    for each in found:
        row, column = scored.images.index(each.image), spec.vocabulary.column(each.label)
        assert each.given == bool(certain[row, column] >= thresholds[column])
        assert scored.targets[row, column] == (0 if each.given else 1)
        assert each.probability == certain[row, column]
        has = [name for name, t in zip(spec.vocabulary, scored.targets[row], strict=True) if t == 1]
        assert (list(each.has), each.more_had) == (has, 0)
        given = sorted(
            (-float(certain[row, c]), name)
            for c, name in enumerate(spec.vocabulary)
            if certain[row, c] >= thresholds[c]
        )
        assert [(name, -value) for value, name in given] == list(each.gets)


def test_the_worst_mistake_of_every_label_comes_before_the_second_of_any(monkeypatch):
    monkeypatch.setattr(examples, "MOST", 4)
    targets = np.array([[0, 0], [0, 0], [0, 0], [1, 1], [1, 0]], dtype=np.int8)
    logits = np.array([[5, -9], [4, -9], [-9, 3], [9, 9], [-5, -9]], dtype=np.float32)
    scored = ScoredImages(tuple("abcde"), logits, targets)
    spec = fit(logits, targets, ModelSpec(Vocabulary(("x", "y")), "", Preprocessing(16, 12)))
    assert spec.thresholds
    half = replace(spec.thresholds, best_f1=(0.01, 0.01))
    found = worst_examples(scored, replace(spec, thresholds=half))
    assert [(each.image, each.label, each.given) for each in found][:1] == [("a", "x", True)]
    assert ("c", "y", True) in [(each.image, each.label, each.given) for each in found]


def test_long_lists_are_cut():
    scored, spec = drawn(labels=12)
    targets = np.ones_like(scored.targets)
    targets[:30, 0] = 0
    scored = replace(scored, targets=targets)
    for each in worst_examples(scored, fit(scored.logits, targets, spec)):
        assert len(each.has) + each.more_had in (11, 12)
        assert len(each.has) == 4 and len(each.gets) <= 4


def test_a_quick_fit_is_that_of_all_where_they_are_few():
    scored, spec = drawn()
    part, fitted = quickly_fitted(scored, spec)
    np.testing.assert_array_equal(part.logits, scored.logits)
    assert fitted == fit(scored.logits, scored.targets, spec)


def test_a_quick_fit_is_of_the_most_frequent_labels(monkeypatch):
    monkeypatch.setattr(examples, "FITTED_LABELS", 2)
    monkeypatch.setattr(examples, "_FITTED_IMAGES", 31)
    scored, spec = drawn()
    targets = scored.targets.copy()
    targets[:50, 1] = targets[10:55, 3] = 1
    targets[:, 2] = 0
    scored = replace(scored, targets=targets)
    part, fitted = quickly_fitted(scored, spec)
    assert fitted.vocabulary.names == ("label 1", "label 3")
    np.testing.assert_array_equal(part.targets, targets[:, [1, 3]])
    rows = np.linspace(0, 59, 31).round().astype(int)
    expected = fit(part.logits[rows], part.targets[rows], fitted)
    assert fitted.calibration == expected.calibration
