import json
from urllib.parse import unquote

import numpy as np
import pytest

from tests.report.drawn import HOSTILE, evaluated_of
from tests.report.test_counts import reaching
from twlcli.model.decisions import decide, thresholds_of
from twlcli.pages.templates import as_json
from twlcli.report import label_cards
from twlcli.report.label_cards import cards_of, columns_shown
from twlcli.scoring.metrics import count_decisions


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return evaluated_of(tmp_path_factory.mktemp("cards"))


@pytest.fixture(scope="module")
def found(evaluated):
    return cards_of(evaluated, evaluated.annotations.root)


def test_the_table_is_the_evaluation_s(evaluated, found):
    rows = found.table["labels"]
    assert [row[0] for row in rows] == [row.label for row in evaluated.evaluation.labels]
    for row, label in zip(rows, evaluated.evaluation.labels, strict=True):
        _, ap, correct, given, support, unknown, threshold, _, trained, ends = row
        assert (ap, support, unknown) == (label.average_precision, label.support, label.unknown)
        assert correct / given == label.precision and correct / support == label.recall
        assert threshold == label.threshold and trained is None
        assert ends == (label.interval and pytest.approx([*label.interval], abs=1e-4))


def test_every_threshold_gives_the_metrics_numbers(evaluated, found):
    targets, steps = evaluated.scored.targets, found.table["steps"]
    for place in range(0, steps + 1, 37):
        decisions = decide(evaluated.probabilities, thresholds_of(evaluated.spec, place / steps))
        counts = count_decisions(decisions, targets)
        for column, detail in enumerate(found.details):
            correct = reaching(detail["present"], steps)[place]
            wrong = reaching(detail["absent"], steps)[place]
            unknown = reaching(detail["unknown"], steps)[place]
            assert correct == counts.correct[column]
            assert correct + wrong == counts.given[column]
            assert correct + wrong + unknown == decisions[:, column].sum()


def test_bins_are_those_of_the_calibration_error(evaluated, found):
    for column, detail in enumerate(found.details):
        targets = evaluated.scored.targets[:, column]
        certain = evaluated.probabilities[:, column].astype(float)
        expected = []
        for low in range(15):
            rows = (np.minimum((certain * 15).astype(int), 14) == low) & (targets >= 0)
            if rows.any():
                expected.append((certain[rows].mean(), targets[rows].mean(), rows.sum()))
        assert np.allclose(detail["bins"], expected, atol=6e-5)


def test_examples_say_which_image_they_are(evaluated, found):
    root, targets = evaluated.annotations.root, evaluated.scored.targets
    seen = 0
    for column, detail in enumerate(found.details):
        for kind, target in (("wrong", 0), ("missed", 1)):
            for place, probability in detail[kind]:
                name, address, picture, truth = found.examples[place]
                row = evaluated.scored.images.index(name)
                assert targets[row, column] == target
                assert probability == evaluated.probabilities[row, column]
                assert (root / unquote(address)).is_file()
                assert picture.startswith("data:image/jpeg;base64,")
                assert truth == np.flatnonzero(targets[row] == 1).tolist()
                seen += 1
    assert seen > 10
    assert found.pictures == len(found.examples)


def test_of_more_labels_those_of_most_images_are_shown(evaluated, monkeypatch):
    monkeypatch.setattr(label_cards, "MOST_LABELS", 3)
    support = [row.support for row in evaluated.evaluation.labels]
    columns = columns_shown(evaluated)
    assert columns == tuple(sorted(columns)) and len(columns) == 3
    assert sorted(support[column] for column in columns) == sorted(support)[-3:]
    few = cards_of(evaluated, evaluated.annotations.root)
    assert len(few.details) == len(few.table["labels"]) == 3
    for detail in few.details:
        assert all(place < 3 for place, *_ in detail["beside"] + detail["instead"])
    assert all(place < 3 for *_, truth in few.examples for place in truth)


def test_pictures_have_their_bounds(evaluated, monkeypatch):
    monkeypatch.setattr(label_cards, "_MOST_PICTURES", 3_000)
    some = cards_of(evaluated, evaluated.annotations.root)
    pictures = [picture for _, _, picture, _ in some.examples]
    assert 0 < some.pictures < len(pictures) and sum(map(len, pictures)) <= 3_000
    assert all(pictures[: some.pictures]) and not any(pictures[some.pictures :])
    monkeypatch.setattr(label_cards, "_MOST_EXAMPLES", 24)
    few = cards_of(evaluated, evaluated.annotations.root)
    assert max(len(detail["wrong"]) for detail in few.details) == 2


def test_json_can_stand_in_a_script(tmp_path):
    text = as_json([*HOSTILE, "caf\udce9", "<!--"])
    assert "<" not in text and text.isascii()
    assert json.loads(text)[: len(HOSTILE)] == list(HOSTILE)
