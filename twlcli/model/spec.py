"""What a model carries besides its weights, as JSON inside the model's own file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from twlcli.errors import AnnotationError, ModelError
from twlcli.io import parse_json
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import FITS, INTERPOLATIONS, Preprocessing
from twlcli.recipe.names import HEAD_NAMES, HeadName
from twlcli.versions import FileFormat, unknown_keys

SPEC_KEY = "twl.spec"  # the key in the safetensors header and in the ONNX metadata
SPEC_FORMAT = FileFormat("spec", 2)  # 2: thresholds for recalls and F-betas
MAX_SIZE = 8192  # pixels of the model's input; the largest that a recipe takes
MAX_LABELS = 1_000_000
_MAX_TEXT = 1 << 29  # characters; what a million labels with calibration and thresholds need
MAX_BETA = 1000  # of F-beta
MAX_NUMBER = 1e30  # of calibration and thresholds; float32 ends at 3e38

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Calibration:
    """Platt scaling per label: probability = sigmoid(slope * logit + offset), slope > 0."""

    slope: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class Thresholds:
    """Per-label decisions on calibrated probabilities; a label is given where p >= threshold.

    Attributes:
        best_f1: the fitted default, C values.
        precision: for each fitted target such as `0.9`, the C lowest thresholds that reach it
            with confidence on the validation split; above 1 where a label never does.
        recall: likewise the C highest thresholds that reach a recall; above 1 where a label has too
            few positives for that.
        f_beta: for each beta such as `2`, the C thresholds with the best F-beta.
    """

    best_f1: tuple[float, ...]
    precision: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    recall: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    f_beta: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def lists(self) -> Iterator[tuple[float, ...]]:
        """All of them, each with C values."""
        yield self.best_f1
        for each in (self.precision, self.recall, self.f_beta):
            yield from each.values()


@dataclass(frozen=True)
class ModelSpec:
    """Labels, preprocessing, calibration, thresholds and provenance of a model.

    Calibration and thresholds are None only before they are fitted. `provenance` says how the
    model came to be: twl's version, data set name, loss, recipe, validation scores;
    `twlcli.recipe.recipe_of` reads the recipe.
    """

    vocabulary: Vocabulary
    backbone: str
    preprocessing: Preprocessing
    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    head: HeadName = "linear"

    def to_json(self) -> str:
        """The spec as one JSON object."""
        fields = asdict(self)
        fields["labels"] = list(fields.pop("vocabulary")["names"])
        fields["preprocessing"] = self.preprocessing.fields()
        if self.head == "linear":  # as in files before there was another
            del fields["head"]
        if self.thresholds is not None:
            for name in ("recall", "f_beta"):
                if not fields["thresholds"][name]:
                    del fields["thresholds"][name]
        return json.dumps({"version": SPEC_FORMAT.version, **fields}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, source: object) -> ModelSpec:
        """Read `to_json`'s text; `source` is the file it came from, for error messages.

        Raises:
            ModelError: the text is not a spec, or comes from a newer twl and has keys that this
                one does not know.
        """
        newer = ""
        try:
            if len(text) > _MAX_TEXT:
                raise ValueError(f"{len(text):,} characters, the limit is {_MAX_TEXT:,}")
            values = parse_json(text, unique_keys=True)
            version, fields = SPEC_FORMAT.opened(_of_kind(dict, values))
            unknown = unknown_keys(fields, _KEYS)
            newer = SPEC_FORMAT.newer(version, unknown)
            if unknown:
                raise ValueError(f"unknown keys: {', '.join(unknown)}")
            spec = cls(
                vocabulary=_vocabulary(fields["labels"]),
                backbone=_of_kind(str, fields["backbone"]),
                preprocessing=_preprocessing(**fields["preprocessing"]),
                calibration=_optional_calibration(fields["calibration"]),
                thresholds=_optional_thresholds(fields["thresholds"]),
                provenance=_of_kind(dict, fields["provenance"]),
                head=_head(fields.get("head", "linear")),
            )
        except (KeyError, TypeError, ValueError, AnnotationError) as error:
            if newer:
                raise ModelError(f"{source}: {newer}") from error
            raise ModelError(f"{source}: its '{SPEC_KEY}' metadata is damaged ({error})") from error
        spec.check(source)
        return spec

    def check(self, source: object) -> None:
        """Raise ModelError where a per-label list has not one value for each label."""
        label_count = len(self.vocabulary)
        lists: list[tuple[float, ...]] = []
        if self.calibration is not None:
            lists += [self.calibration.slope, self.calibration.offset]
        if self.thresholds is not None:
            lists += self.thresholds.lists()
        if any(len(values) != label_count for values in lists):
            raise ModelError(
                f"{source}: calibration and thresholds do not fit {label_count} labels"
            )


# What `to_json` writes; None where a value has no keys, or any.
_KEYS = {
    **dict.fromkeys(("labels", "backbone", "provenance", "head")),
    "preprocessing": Preprocessing.__dataclass_fields__,
    "calibration": Calibration.__dataclass_fields__,
    "thresholds": Thresholds.__dataclass_fields__,
}


def _vocabulary(labels: Any) -> Vocabulary:
    names = tuple(_of_kind(str, name) for name in _of_kind(list, labels))
    if not 1 <= len(names) <= MAX_LABELS:
        raise ValueError(f"{len(names):,} labels, expected 1 to {MAX_LABELS:,}")
    return Vocabulary(names)


def _head(name: Any) -> HeadName:
    for known in HEAD_NAMES:
        if name == known:
            return known
    raise ValueError(f"head {str(name)[:40]!a}, expected {' or '.join(HEAD_NAMES)}")


def _preprocessing(**fields: Any) -> Preprocessing:
    result = Preprocessing(**fields)
    mean, std = _numbers(result.mean), _numbers(result.std)
    sizes = _of_kind(int, result.crop), _of_kind(int, result.resize)
    if not 1 <= sizes[0] <= sizes[1] <= MAX_SIZE:
        raise ValueError(f"crop {sizes[0]} and resize {sizes[1]}, expected 1 to {MAX_SIZE}")
    if result.interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation {result.interpolation!a}, expected bilinear or bicubic")
    if result.fit not in FITS:
        raise ValueError(f"fit {str(result.fit)[:40]!a}, expected {', '.join(FITS)}")
    if not len(mean) == len(std) == 3:
        raise ValueError("mean and std have not one value for each of three channels")
    return replace(result, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def _optional_calibration(fields: Mapping[str, Any] | None) -> Calibration | None:
    if fields is None:
        return None
    slope = _numbers(fields["slope"])
    if slope and min(slope) <= 0:
        raise ValueError(f"a slope of {min(slope):g}, expected one above 0")
    return Calibration(slope, _numbers(fields["offset"]))


def _optional_thresholds(fields: Mapping[str, Any] | None) -> Thresholds | None:
    if fields is None:
        return None
    return Thresholds(
        _numbers(fields["best_f1"]),
        _by_target(fields["precision"], "precision", 1),
        _by_target(fields.get("recall", {}), "recall", 1),
        _by_target(fields.get("f_beta", {}), "beta", MAX_BETA),
    )


def _by_target(fields: Any, what: str, most: int) -> dict[str, tuple[float, ...]]:
    """Thresholds for each of several targets of 0..`most`."""
    given = _of_kind(dict, fields)
    thresholds = {
        str(float(key)).removesuffix(".0"): _numbers(values) for key, values in given.items()
    }
    if len(thresholds) < len(given):
        raise ValueError(f"thresholds for a {what} are there twice")
    if not all(0 <= float(key) <= most for key in thresholds):
        raise ValueError(f"thresholds for a {what} that is not between 0 and {most}")
    return thresholds


def _numbers(values: Any) -> tuple[float, ...]:
    """A list of numbers that float32 holds."""
    for value in values:
        if type(value) not in (int, float) or not abs(value) < MAX_NUMBER:
            raise ValueError(f"expected a number, found {str(value)[:40]!a}")
    return tuple(map(float, values))


def _of_kind(kind: type[Kind], value: Any) -> Kind:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, found {str(value)[:40]!a}")
    return value
