import numpy as np
import pytest

from tests.paired.drawn import draw_models, scored_model, spec_of
from twlcli.model.decisions import calibration_of, decide, probabilities, thresholds_of
from twlcli.paired.disagreement import MOST_DECISIONS, MOST_IMAGES, disagreement_of
from twlcli.scoring import average_precision

LABELS = ("a", "b", "c", "d", "e")


def drawn(images: int = 90):
    logits, targets = draw_models(1.0, 2.0, images=images, labels=len(LABELS), unknown=0.2)
    models = [scored_model(each, targets, spec_of(LABELS)) for each in logits]
    return models, targets, [f"{row:04}.png" for row in range(images)]


def test_disagreements_are_those_of_plain_loops(monkeypatch):
    monkeypatch.setattr(average_precision, "BLOCK_ENTRIES", 40)
    models, targets, images = drawn()
    columns = np.array([0, 2, 3, 4])  # the data do not know b
    found = disagreement_of(models[0], models[1], images, targets, columns)
    certain = [probabilities(m.logits, calibration_of(m.spec)) for m in models]
    given = [decide(p, thresholds_of(m.spec, None)) for p, m in zip(certain, models, strict=True)]
    right = first_right = 0
    strength: dict[str, list[tuple[float, str]]] = {}
    for row, image in enumerate(images):
        for column in columns:
            first, other = (bool(each[row, column]) for each in given)
            if first != other:
                gap = abs(float(certain[1][row, column]) - float(certain[0][row, column]))
                strength.setdefault(image, []).append((gap, LABELS[column]))
                right += targets[row, column] == int(other)
                first_right += targets[row, column] == int(first)
    assert found.images == len(strength)
    assert found.decisions == sum(map(len, strength.values()))
    assert (found.right, found.first_right) == (right, first_right)
    assert right + first_right < found.decisions  # of some it is not known
    worst = sorted(strength, key=lambda image: -sum(gap for gap, _ in strength[image]))
    assert [each.image for each in found.worst] == worst[:MOST_IMAGES]
    for each in found.worst:
        row = images.index(each.image)
        assert [label.label for label in each.labels] == [
            name for _, name in sorted(strength[each.image], reverse=True)
        ]
        assert each.present == tuple(LABELS[c] for c in columns if targets[row, c] == 1)
        for label in each.labels:
            column = LABELS.index(label.label)
            assert label.present == {1: True, 0: False, -1: None}[int(targets[row, column])]
            assert label.given == given[1][row, column] != given[0][row, column]
            assert (label.first, label.value) == pytest.approx(
                [float(p[row, column]) for p in certain]
            )


def test_a_model_agrees_with_itself():
    models, targets, images = drawn()
    found = disagreement_of(models[0], models[0], images, targets, np.arange(5))
    assert (found.images, found.decisions, found.right, found.worst) == (0, 0, 0, ())


def test_each_model_has_its_own_thresholds():
    models, targets, images = drawn()
    strict = scored_model(models[0].logits, targets, spec_of(LABELS, threshold=1.0))
    found = disagreement_of(models[0], strict, images, targets, np.arange(5))
    assert found.images
    assert not any(label.given for each in found.worst for label in each.labels)
    same = disagreement_of(models[0], strict, images, targets, np.arange(5), threshold=0.5)
    assert same.images == 0


def test_not_all_labels_of_an_image_are_named():
    labels = [f"label{column}" for column in range(MOST_DECISIONS + 10)]
    logits, targets = draw_models(0.0, 0.0, images=3, labels=len(labels), unknown=0.0)
    first, other = (np.full_like(logits[0], value) for value in (-9, 9))
    models = [scored_model(each, targets, spec_of(labels)) for each in (first, other)]
    found = disagreement_of(models[0], models[1], ["a", "b", "c"], targets, np.arange(len(labels)))
    assert [(each.count, len(each.labels)) for each in found.worst] == [
        (len(labels), MOST_DECISIONS)
    ] * 3
