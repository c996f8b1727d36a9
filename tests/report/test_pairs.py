import numpy as np
import pytest

from tests.report.drawn import evaluated_of
from twlcli.report.pairs import beside, instead, most_frequent, pairs_of


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return evaluated_of(tmp_path_factory.mktemp("pairs"), written=False)


def cells(evaluated):
    """Row by row, which labels are present and which are given, of those that are known."""
    thresholds = [row.threshold for row in evaluated.evaluation.labels]
    for certain, targets in zip(evaluated.probabilities, evaluated.scored.targets, strict=True):
        present = {c for c, target in enumerate(targets) if target == 1}
        given = {c for c, t in enumerate(targets) if t >= 0 and certain[c] >= thresholds[c]}
        yield present, given


def test_labels_beside_one_are_counted(evaluated):
    for column in range(6):
        found = beside(evaluated, column)
        assert found
        for each in found:
            both = [
                ({column, each.column} <= present, {column, each.column} <= given)
                for present, given in cells(evaluated)
            ]
            assert each.in_data == sum(data for data, _ in both)
            assert each.in_predictions == sum(predicted for _, predicted in both)
            assert each.column != column


def test_what_is_given_instead_is_wrong_where_a_label_is_missed(evaluated):
    some = 0
    for column in range(6):
        counts = [0] * 6
        for present, given in cells(evaluated):
            if column in present and column not in given:
                for other in given - present:
                    counts[other] += 1
        expected = {other: count for other, count in enumerate(counts) if count}
        found = instead(evaluated, column)
        assert dict(found) == expected
        assert [count for _, count in found] == sorted(expected.values(), reverse=True)
        some += len(expected)
    assert some


def test_shares_of_pairs(evaluated):
    columns = most_frequent(evaluated, 4)
    support = [row.support for row in evaluated.evaluation.labels]
    assert columns == sorted(columns)
    assert {support[column] for column in columns} == set(sorted(support)[-4:])
    pairs = pairs_of(evaluated, columns)
    assert len(pairs) == 12
    for pair in pairs:
        has = [present for present, _ in cells(evaluated) if pair.first in present]
        share = sum(pair.second in present for present in has) / len(has)
        assert pair.in_data == pytest.approx(share)
        has = [given for _, given in cells(evaluated) if pair.first in given]
        share = sum(pair.second in given for given in has) / len(has)
        assert pair.in_predictions == pytest.approx(share)
        assert pair.difference == pytest.approx(pair.in_predictions - pair.in_data)


def test_labels_that_no_image_has_are_in_no_pair(tmp_path):
    evaluated = evaluated_of(tmp_path, written=False)
    evaluated.scored.targets[:, 2] = np.minimum(0, evaluated.scored.targets[:, 2])
    from dataclasses import replace

    from twlcli.scoring.evaluation import score

    again = replace(evaluated, evaluation=score(evaluated.scored, evaluated.spec))
    assert 2 not in most_frequent(again, 30)
    assert len(most_frequent(again, 30)) == 5
