from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

import twlcli
from tests.tagging.models import SPEC, spec_with_labels, write_model
from twlcli.errors import AnnotationError, ModelError, TwlError, UnknownLabelError
from twlcli.labels import Vocabulary
from twlcli.model.spec import Calibration, ModelSpec, Thresholds
from twlcli.outputs import ScoreTable
from twlcli.paired.labels import common_labels, spec_of_labels
from twlcli.scoring.report import to_dict

PIXELS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "ry": (255, 255, 0)}


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")


def model_of(path, *labels: str):
    """The same network, whose outputs are called otherwise."""
    return write_model(path, metadata=spec_with_labels(*labels).to_json())


@pytest.fixture
def mixed(tmp_path):
    """A model that takes red for blue and blue for red."""
    return model_of(tmp_path / "mixed.onnx", "blue", "green", "red")


@pytest.fixture
def stored(model, photographs, tmp_path):
    """The first model's scores of all images but the fourth."""
    pytest.importorskip("pyarrow")
    images = [photographs.parent / f"{number}.png" for number in range(30) if number != 3]
    path = tmp_path / "scores.parquet"
    twlcli.tag_files(images, model=model, outputs=[ScoreTable(path)])
    return path


def without_notes(evaluation):
    return to_dict(replace(evaluation, notes=()))


def test_models_are_scored_as_each_alone(model, mixed, photographs):
    paired = twlcli.evaluate_models([model, str(mixed)], photographs, split="all")
    assert paired.models == (str(model), str(mixed))
    assert paired.names == ("model.onnx", "mixed.onnx")
    assert (paired.images, paired.split, paired.data) == (30, "all", str(photographs))
    assert paired.labels == ("red", "green", "blue")
    alone = [twlcli.evaluate(each, photographs, split="all") for each in (model, mixed)]
    assert without_notes(paired.evaluations[0]) == without_notes(alone[0])
    # The second has its labels in the order of the first.
    fields, own = without_notes(paired.evaluations[1]), without_notes(alone[1])
    assert fields.pop("labels") == own.pop("labels")[::-1]
    assert fields["map_class"] == pytest.approx(own["map_class"])
    assert fields["at_threshold"] == pytest.approx(own["at_threshold"])
    [difference] = paired.differences
    value = alone[1].map_class.value - alone[0].map_class.value
    assert difference.scores["map_class"].value == pytest.approx(value)
    assert difference.scores["map_class"].significant
    assert (paired.unreadable, paired.notes) == ((), ())


def test_a_model_against_itself(model, photographs):
    paired = twlcli.evaluate_models([model, model, model], photographs, split="all")
    assert paired.names == ("model.onnx (1)", "model.onnx (2)", "model.onnx (3)")
    for each in paired.differences:
        assert {score.value for score in each.scores.values()} == {0.0}
        assert not any(score.significant for score in each.scores.values())
        assert each.real == ()
        assert each.disagreement.images == 0


def test_labels_that_only_some_know_are_in_no_score(model, photographs, tmp_path):
    other = model_of(tmp_path / "other.onnx", "teal", "green", "blue")
    paired = twlcli.evaluate_models([model, other], photographs, split="all")
    assert paired.labels == ("green", "blue")
    assert [row.label for row in paired.evaluations[0].labels] == ["green", "blue"]
    assert (
        "2 labels are in no score, because only one of the models knows them: red, teal"
        in paired.notes
    )
    # Both say the same of the labels that they share.
    assert {each.value for each in paired.differences[0].scores.values()} == {0.0}


def test_labels_that_the_data_do_not_know_are_in_no_score(model, mixed, photographs, tmp_path):
    table = photographs.parent / "without-blue.csv"
    rows = [line.split(",")[:2] for line in photographs.read_text().splitlines()]
    rows = [[image, labels.replace("|blue", "").replace("blue|", "")] for image, labels in rows]
    table.write_text("".join(f"{a},{b}\n" for a, b in rows if b != "blue"))
    try:
        paired = twlcli.evaluate_models([model, mixed], table)
    finally:
        table.unlink()
    assert "blue" not in paired.labels
    assert any("1 of the models' 3 labels do not occur in" in note for note in paired.notes)
    assert [each.label for each in paired.differences[0].labels] == ["red", "green"] or [
        each.label for each in paired.differences[0].labels
    ] == ["green", "red"]


def test_models_without_a_common_label_are_refused(model, photographs, tmp_path):
    other = model_of(tmp_path / "other.onnx", "teal", "pink", "grey")
    with pytest.raises(TwlError) as refused:
        twlcli.evaluate_models([model, other], photographs)
    assert str(refused.value) == (
        "the models have no label in common (model.onnx: red, green, blue; "
        "other.onnx: teal, pink, grey)"
    )


def test_data_without_a_common_label_are_refused(model, tmp_path):
    other = model_of(tmp_path / "other.onnx", "teal", "green", "grey")
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\na.png,red\n")
    with pytest.raises(AnnotationError, match=r"has none of the labels that all .* \(green\)"):
        twlcli.evaluate_models([model, other], table)


def test_labels_that_no_model_knows_are_refused(model, mixed, photographs):
    table = photographs.parent / "typo.csv"
    table.write_text("image,labels\n0.png,rde\n1.png,red\n2.png,blue\n3.png,green\n")
    try:
        with pytest.raises(UnknownLabelError, match="did you mean 'red'"):
            twlcli.evaluate_models([model, mixed], table)
        paired = twlcli.evaluate_models([model, mixed], table, ignore_unknown_labels=True)
    finally:
        table.unlink()
    assert "labels that the model does not know were left out: rde" in paired.notes


def test_images_that_only_some_could_read_are_in_no_score(model, stored, photographs):
    paired = twlcli.evaluate_models([model, stored], photographs, split="all")
    assert (paired.images, [each.image for each in paired.unreadable]) == (29, ["3.png"])
    assert paired.unreadable[0].reason == f"has no scores in {stored}"
    assert paired.notes == (
        "1 image is in no score, because not all of the models have scored it: 3.png",
    )
    assert [len(each.unreadable) for each in paired.evaluations] == [0, 1]
    assert paired.evaluations[0].images == 29
    # What was kept of a model is what it says, but for rounding.
    assert abs(paired.differences[0].scores["map_class"].value) < 1e-6


def test_no_image_that_all_could_read_is_an_error(model, photographs, tmp_path):
    pytest.importorskip("pyarrow")
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    for path, number in ((first, 0), (second, 1)):
        image = photographs.parent / f"{number}.png"
        twlcli.tag_files([image], model=model, outputs=[ScoreTable(path)])
    with pytest.raises(AnnotationError, match="no image that all models could read"):
        twlcli.evaluate_models([first, second], photographs, split="all")


def test_provider_and_device_are_said_to_those_that_run(model, stored, photographs):
    twlcli.evaluate_models([stored, model], photographs, split="all", provider="cpu")
    with pytest.raises(TwlError, match="no model runs, and provider has no meaning"):
        twlcli.evaluate_models([stored, stored], photographs, provider="cpu")
    with pytest.raises(TwlError, match="runs in ONNX Runtime"):
        twlcli.evaluate_models([model, model], photographs, device="cpu")


def test_each_model_that_runs_is_watched(model, mixed, photographs):
    counts = []

    @contextmanager
    def watcher(images: int) -> Iterator[Callable[[int], None]]:
        counts.append([images, 0])

        def advance(done: int) -> None:
            counts[-1][1] += done

        yield advance

    twlcli.evaluate_models([model, mixed], photographs, split="all", watcher=watcher)
    assert counts == [[30, 30], [30, 30]]


def test_a_threshold_is_for_all(model, mixed, photographs, tmp_path):
    paired = twlcli.evaluate_models([model, mixed], photographs, threshold=0.25)
    assert {row.threshold for each in paired.evaluations for row in each.labels} == {0.25}
    file = tmp_path / "mine.toml"
    file.write_text("default = 0.5\ngreen = 0.75\n")
    paired = twlcli.evaluate_models([model, mixed], photographs, threshold=str(file))
    for each in paired.evaluations:
        assert {row.label: row.threshold for row in each.labels} == {
            "red": 0.5,
            "green": 0.75,
            "blue": 0.5,
        }


@pytest.mark.parametrize(
    ("models", "keywords", "error", "message"),
    [
        (["model"], {}, TwlError, "two or more"),
        ("model", {}, TwlError, "two or more"),
        (["model", "gone.onnx"], {}, ModelError, "gone.onnx: no such model"),
        (["model", "raw"], {}, ModelError, "raw.onnx: the model carries no calibration"),
        (["model", "model"], {"threshold": "often"}, TwlError, "expected a number"),
        (["model", "model"], {"data": "gone.csv"}, AnnotationError, "no such file or folder"),
        (["model", "model"], {"data": None}, TwlError, "does not say what it was trained on"),
        (["model", "model"], {"report": "model.onnx"}, TwlError, "is read by this run"),
        (["model", "model"], {"report": "raw.onnx"}, TwlError, "exists already"),
        (["model", "model"], {"batch_size": 0}, TwlError, "batch_size"),
    ],
)
def test_errors_are_clear(models, keywords, error, message, model, photographs, tmp_path):
    raw = write_model(tmp_path / "raw.onnx", metadata=replace(SPEC, calibration=None).to_json())
    known: dict[str, Any] = {"model": model, "raw": raw}
    given: Any = [known.get(each, each) for each in models]
    given = given if isinstance(models, list) else str(model)
    if "report" in keywords:
        keywords = keywords | {"report": tmp_path / keywords["report"]}
    with pytest.raises(error, match=message) as refused:
        twlcli.evaluate_models(given, **({"data": photographs} | keywords))
    assert "\n" not in str(refused.value)


def test_the_report_is_of_what_is_returned(model, mixed, photographs, tmp_path):
    page = tmp_path / "report.html"
    paired = twlcli.evaluate_models([model, mixed], photographs, split="all", report=page)
    text = page.read_text()
    assert f"{100 * paired.evaluations[1].map_class.value:.2f}" in text
    again = twlcli.evaluate_models(
        [model, mixed], photographs, split="all", report=page, force=True
    )
    assert again == paired
    assert page.read_text() == text  # the same numbers, the same bytes


def test_labels_are_picked_from_all_of_a_spec():
    spec = ModelSpec(
        Vocabulary(("a", "b", "c")),
        "drawn",
        SPEC.preprocessing,
        Calibration((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
        Thresholds(
            (0.1, 0.2, 0.3),
            {"0.9": (0.4, 0.5, 0.6)},
            {"0.8": (0.7, 0.8, 0.9)},
            {"2": (0.15, 0.25, 0.35)},
        ),
    )
    picked = spec_of_labels(spec, Vocabulary(("c", "a")))
    picked.check("here")
    assert picked.vocabulary.names == ("c", "a")
    assert picked.calibration == Calibration((3.0, 1.0), (6.0, 4.0))
    assert picked.thresholds == Thresholds(
        (0.3, 0.1), {"0.9": (0.6, 0.4)}, {"0.8": (0.9, 0.7)}, {"2": (0.35, 0.15)}
    )
    assert spec_of_labels(spec, spec.vocabulary) is spec
    assert spec_of_labels(replace(spec, calibration=None, thresholds=None), picked.vocabulary)


def test_common_labels_stand_in_the_order_of_the_first():
    specs = [spec_with_labels(*labels) for labels in (("c", "a", "b"), ("b", "c", "x"), ("b", "c"))]
    labels = common_labels(specs, ("one", "two", "three"))
    assert labels.shared.names == ("c", "b")
    assert labels.all.names == ("c", "a", "b", "x")
    assert labels.note == (
        "2 labels are in no score, because not all of the models know them: a, x"
    )
    assert common_labels(specs[:1] * 2, ("one", "two")).note == ""
