import json

import pytest

from twlcli.errors import ModelError
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_FORMAT, Calibration, ModelSpec, Thresholds

SPEC = ModelSpec(
    Vocabulary(("dog | hound", "été")),
    "resnet18",
    Preprocessing(resize=40, crop=32, interpolation="bicubic"),
    Calibration((1.5, 0.1), (-2.0, 0.0)),
    Thresholds((0.5, 0.25), {"0.9": (0.8, 1.01)}),
    {"data": "labels.csv", "validation": {"map_class": 0.5}},
)


ALL_KINDS = Thresholds((0.5, 0.2), {"0.9": (0.8, 1.01)}, {"0.8": (0.1, 1.01)}, {"2": (0.2, 0.1)})


def test_a_spec_without_the_newer_thresholds_has_the_keys_of_older_files():
    keys = json.loads(SPEC.to_json())["thresholds"]
    assert list(keys) == ["best_f1", "precision"]


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        ModelSpec(SPEC.vocabulary, "vit_b_16", Preprocessing()),
        ModelSpec(SPEC.vocabulary, "vit_b_16", Preprocessing(), thresholds=ALL_KINDS),
    ],
)
def test_json_round_trip_is_exact(spec):
    assert ModelSpec.from_json(spec.to_json(), source="model.onnx") == spec


NEWER = SPEC_FORMAT.version + 1


def test_spec_of_a_newer_twl_is_read_where_all_of_its_keys_are_known():
    assert ModelSpec.from_json(changed(version=NEWER), source="model.onnx") == SPEC


def changed(**values: object) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "'twl.spec' metadata is damaged"),
        ("[]", "'twl.spec' metadata is damaged"),
        ("{}", "'twl.spec' metadata is damaged"),
        (changed(preprocessing={"rezise": 3}), "damaged .unknown keys: preprocessing.rezise"),
        (changed(version=NEWER, tilt=1), "spec version 3; this one reads 2.; unknown keys: tilt"),
        (changed(version=NEWER, labels=None), "by a newer twl .* reads 2.; upgrade twlcli$"),
        (changed(version="1"), "version is '1', expected a whole number"),
        (changed(tilt=1), "metadata is damaged .unknown keys: tilt"),
        (changed(labels=["a", "b", "c"]), "do not fit 3 labels"),
        (changed(labels=["a", "dog\ud83d"]), r"label 'dog\\ud83d' is not valid text"),
        (changed(labels=["a", 1]), "'twl.spec' metadata is damaged"),
        (changed(preprocessing={"crop": 1 << 40, "resize": 1 << 40}), "expected 1 to 8192"),
        (changed(preprocessing={"crop": True}), "expected int, found 'True'"),
        (changed(preprocessing={"crop": 64, "resize": 32}), "expected 1 to 8192"),
        (changed(preprocessing={"interpolation": "nearest"}), "expected bilinear or bicubic"),
        (changed(preprocessing={"mean": [0.5]}), "one value for each of three channels"),
        (changed(calibration={"slope": ["a", 1], "offset": [0, 0]}), "expected a number"),
        (changed(calibration={"slope": [float("nan"), 1], "offset": [0, 0]}), "found 'nan'"),
        (changed(calibration={"slope": [1e300, 1], "offset": [0, 0]}), "expected a number"),
        (changed(thresholds={"best_f1": [0, 0], "precision": ""}), "expected dict, found ''"),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {"0.5": [0, 0], "0.50": [1, 1]}}),
            "thresholds for a precision are there twice",
        ),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {"nan": [0, 0]}}),
            "precision that is not between 0 and 1",
        ),
        (changed(thresholds={"best_f1": [0, 0], "precision": {"x": [0, 0]}}), "convert string"),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {}, "recall": {"1.5": [0, 0]}}),
            "recall that is not between 0 and 1",
        ),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {}, "f_beta": {"-1": [0, 0]}}),
            "beta that is not between 0 and 1000",
        ),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {}, "f_beta": {"2": [0]}}),
            "do not fit 2 labels",
        ),
        (
            changed(thresholds={"best_f1": [0, 0], "precision": {}, "tilt": {}}),
            "unknown keys: thresholds.tilt",
        ),
        (changed(calibration={"slope": [1, -1], "offset": [0, 0]}), "slope of -1, expected one ab"),
        (changed(labels="ab"), "expected list, found 'ab'"),
        (changed(labels=[]), "0 labels, expected 1 to 1,000,000"),
        (changed(labels=["a", ""]), "a label of the vocabulary is empty"),
        (SPEC.to_json()[:-1] + ', "labels": ["a", "b"]}', "key 'labels' is there twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_text_that_is_not_a_spec_names_the_file(text, message):
    with pytest.raises(ModelError, match=message) as error:
        ModelSpec.from_json(text, source="model.onnx")
    assert str(error.value).startswith("model.onnx: ")
