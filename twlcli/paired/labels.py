"""The labels that all of several models know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twlcli.annotations.vocabulary import in_vocabulary, with_vocabulary
from twlcli.errors import AnnotationError, TwlError
from twlcli.labels import Vocabulary, counted, some_of
from twlcli.model.spec import ModelSpec
from twlcli.runs.labelled import Labelled


@dataclass(frozen=True)
class CommonLabels:
    """The labels of several models.

    Attributes:
        all: those that any model knows: the first's in its order, then those of the others.
        shared: those that all models know, in the first's order.
        note: which of them are not shared; empty where all are.
    """

    all: Vocabulary
    shared: Vocabulary
    note: str


def common_labels(specs: Sequence[ModelSpec], names: Sequence[str]) -> CommonLabels:
    """What several models know.

    Args:
        specs: of the models.
        names: of the models, short ones.

    Raises:
        TwlError: they have no label in common.
    """
    vocabularies = [spec.vocabulary for spec in specs]
    every = tuple(dict.fromkeys(label for each in vocabularies for label in each))
    shared = tuple(label for label in every if all(label in each for each in vocabularies))
    if not shared:
        of = "; ".join(
            f"{name}: {some_of(each.names)}" for name, each in zip(names, vocabularies, strict=True)
        )
        raise TwlError(f"the models have no label in common ({of})")
    note = ""
    if alone := [label for label in every if label not in set(shared)]:
        known = "only one of the models knows" if len(specs) == 2 else "not all of the models know"
        labels = counted(len(alone), "label is", "labels are")
        note = f"{labels} in no score, because {known} {'it' if len(alone) == 1 else 'them'}: "
        note += some_of(alone)
    return CommonLabels(Vocabulary(every), Vocabulary(shared), note)


def of_common_labels(labelled: Labelled, labels: CommonLabels) -> Labelled:
    """Labelled images with the labels that all models know.

    Args:
        labelled: with the labels of any model.
        labels: of the models.

    Raises:
        AnnotationError: the data have none of them.
    """
    whole = with_vocabulary(labelled.annotations, labels.all)
    unlisted = tuple(label for label in whole.unlisted if label in labels.shared)
    if len(unlisted) == len(labels.shared):
        raise AnnotationError(
            f"{whole.source}: has none of the labels that all models know "
            f"({some_of(labels.shared.names)})"
        )
    annotations = replace(in_vocabulary(whole, labels.shared), unlisted=unlisted)
    if labels.note:
        annotations = annotations.with_note(labels.note)
    return replace(labelled, annotations=annotations)


def spec_of_labels(spec: ModelSpec, labels: Vocabulary) -> ModelSpec:
    """A model's spec with some of its labels, in their order."""
    if spec.vocabulary == labels:
        return spec
    columns = [spec.vocabulary.column(label) for label in labels]

    def picked(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(values[column] for column in columns)

    calibration, thresholds = spec.calibration, spec.thresholds
    if calibration is not None:
        calibration = replace(
            calibration, slope=picked(calibration.slope), offset=picked(calibration.offset)
        )
    if thresholds is not None:
        by_target = {
            kind: {key: picked(values) for key, values in getattr(thresholds, kind).items()}
            for kind in ("precision", "recall", "f_beta")
        }
        thresholds = replace(thresholds, best_f1=picked(thresholds.best_f1), **by_target)
    return replace(spec, vocabulary=labels, calibration=calibration, thresholds=thresholds)
