import json
import math
from dataclasses import replace

import pytest

from twlcli.pages.plot import Line
from twlcli.probing.page import penalty_plot
from twlcli.probing.report import left_out, notes, rows_of, short_names, tables_of
from twlcli.probing.result import ProbeResult, Swept, from_dict, to_dict


def swept(penalty, score, validation, *, converged=True, names=("accuracy", "class_accuracy")):
    scores = dict.fromkeys(names, score)
    return Swept(penalty, scores, validation, 1e-4, converged, 12, True)


def result(*several, model="a", data="set", unreadable=0):
    return ProbeResult(model, data, 3, 8, 20, 10, unreadable, "softmax", tuple(several))


ONE = result(swept(10, 0.5, 0.6), swept(1, 0.8, 0.7), swept(0.1, 0.7, 0.9), swept(0.01, 0.6, 0.9))


def test_each_choice_has_its_own_penalty():
    assert ONE.selected("paper").penalty == 1
    assert ONE.selected("validation").penalty == 0.1  # the stronger of two that are equal
    assert rows_of([ONE]) == [
        ("set", "a", "paper", "1", "80.00", "80.00", "1.0e-04"),
        ("set", "a", "validation", "0.1", "70.00", "70.00", "1.0e-04"),
    ]


def test_scores_that_are_not_defined_are_not_chosen():
    odd = result(swept(10, math.nan, math.nan), swept(1, 0.1, 0.1))
    assert odd.selected("paper").penalty == odd.selected("validation").penalty == 1


def test_heads_that_did_not_converge_are_said():
    off = result(swept(10, 0.1, 0.1), swept(1, 0.9, 0.9, converged=False), swept(0.1, 0.1, 0.1))
    assert rows_of([off])[0][-1] == "1.0e-04 not converged"
    assert notes([off]) == ["a on set: 1 of 3 heads have not converged."]


def test_a_choice_at_an_end_and_unreadable_images_are_said():
    end = result(swept(10, 0.9, 0.1), swept(1, 0.8, 0.7), unreadable=2)
    assert notes([end]) == [
        "a on set: the strongest penalty is the best on the test images; one beyond it may be "
        "better.",
        "a on set: the weakest penalty is the best on the held-out training images; one beyond it "
        "may be better.",
        "a on set: 2 images cannot be read and take no part.",
    ]


def test_nothing_is_said_of_the_end_where_the_next_is_as_good():
    assert not notes([result(swept(10, 0.5, 0.5), swept(1, 0.5, 0.5))])


def test_sets_of_another_kind_have_a_table_of_their_own():
    other = result(swept(1, 0.3, 0.3, names=("map_class", "map_sample")), data="other")
    both = tables_of([ONE, other])
    assert [headings for headings, _ in both] == [
        ("accuracy", "per class"),
        ("mAP@class", "mAP@sample"),
    ]
    assert [several for _, several in both] == [[ONE], [other]]


def test_the_models_of_a_set_stand_together():
    several = [
        result(swept(1, 0.1, 0.1), model=model, data=data) for model in "ab" for data in "xy"
    ]
    assert [row[:2] for row in rows_of(several)[::2]] == [*zip("xxyy", "abab", strict=True)]


def test_names_are_not_shortened_to_the_same():
    models = ["a=x/w.pth", "a=y/w.pth", "a=/far/y/w.pth", "b=x/w.pth", "a=none", "runs/w.pth", "a"]
    short = short_names(models)
    assert list(short) == models
    assert list(short.values()) == [
        *("a=x/w.pth", "a=y/w.pth", "a=far/y/w.pth", "b=w.pth", "a=none", "runs/w.pth", "a"),
    ]


def test_one_image_is_said_as_one():
    assert left_out(1) in " ".join(notes([replace(ONE, unreadable=1)]))


def test_json_gives_the_result_back():
    odd = result(swept(10, math.nan, math.nan), swept(1, 0.25, 0.5))
    text = json.dumps(to_dict(odd), allow_nan=False)
    again = from_dict(json.loads(text))
    assert math.isnan(again.swept[0].validation) and again.swept[1:] == odd.swept[1:]
    assert from_dict(to_dict(ONE)) == ONE


@pytest.mark.parametrize("damage", [{}, {"swept": []}, [], {"swept": [{"scores": 3}]}], ids=str)
def test_other_json_is_no_result(damage):
    fields = {**to_dict(ONE), **damage} if damage else damage
    with pytest.raises(ValueError):
        from_dict(fields)


def test_the_plot_has_both_curves():
    plot = penalty_plot(ONE)
    lines = [mark for mark in plot.marks if isinstance(mark, Line)]
    assert [line.dashed for line in lines] == [True, False]
    assert lines[1].points == [(10, 50), (1, 80), (0.1, 70), (0.01, 60)]
