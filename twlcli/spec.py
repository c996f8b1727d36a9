"""What a model carries besides its weights, as JSON inside the model's own file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from twlcli.errors import ModelError
from twlcli.labels import Vocabulary

SPEC_KEY = "twl.spec"  # the key in the safetensors header and in the ONNX metadata
SPEC_VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the model's input; normalisation is inside the exported graph.

    Attributes:
        resize: length of the shorter side after resizing, pixels.
        crop: side of the square cut from the centre, pixels; at most `resize`.
        interpolation: `bilinear` or `bicubic`, both with antialiasing (Pillow's).
        mean: per-channel mean of RGB in 0..1.
        std: per-channel standard deviation of RGB in 0..1.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


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
            on the validation split; above 1 where a label never reaches it.
    """

    best_f1: tuple[float, ...]
    precision: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """Labels, preprocessing, calibration, thresholds and provenance of a model.

    Calibration and thresholds are None only before they are fitted. `provenance` says how the
    model came to be: twl's version, data set name, loss, backbone, recipe, validation scores.
    """

    vocabulary: Vocabulary
    backbone: str
    preprocessing: Preprocessing
    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The spec as one JSON object."""
        fields = asdict(self)
        fields["labels"] = list(fields.pop("vocabulary")["names"])
        return json.dumps({"version": SPEC_VERSION, **fields}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, source: object) -> ModelSpec:
        """Read `to_json`'s text; `source` is the file it came from, for error messages.

        Raises:
            ModelError: the text is not a spec, or comes from a newer twl.
        """
        try:
            fields = json.loads(text)
            if fields["version"] > SPEC_VERSION:
                raise ModelError(
                    f"{source}: spec version {fields['version']} is newer than this twl reads "
                    f"({SPEC_VERSION}); upgrade twlcli"
                )
            spec = cls(
                vocabulary=Vocabulary(tuple(fields["labels"])),
                backbone=fields["backbone"],
                preprocessing=Preprocessing(**_tuples(fields["preprocessing"])),
                calibration=_optional_calibration(fields["calibration"]),
                thresholds=_optional_thresholds(fields["thresholds"]),
                provenance=fields["provenance"],
            )
        except (KeyError, TypeError, ValueError) as error:
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
            lists += [self.thresholds.best_f1, *self.thresholds.precision.values()]
        if any(len(values) != label_count for values in lists):
            raise ModelError(
                f"{source}: calibration and thresholds do not fit {label_count} labels"
            )


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}


def _optional_calibration(fields: Mapping[str, Any] | None) -> Calibration | None:
    return None if fields is None else Calibration(**_tuples(fields))


def _optional_thresholds(fields: Mapping[str, Any] | None) -> Thresholds | None:
    if fields is None:
        return None
    return Thresholds(tuple(fields["best_f1"]), _tuples(fields["precision"]))
