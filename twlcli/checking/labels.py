"""What is wrong with labels, without looking at images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.checking.finding import Finding, Item, Severity
from twlcli.checking.names import alike_names
from twlcli.checking.together import Pair, find_together
from twlcli.labels import UNKNOWN, counted

FEW_POSITIVES = 10  # of a label; fewer than that can hardly be learnt or measured
TRAIN = "train"


@dataclass(frozen=True)
class Balance:
    """How the labels are spread.

    Attributes:
        fewest: the label with the fewest images, and how many.
        median: of the labels' numbers of images.
        most: the label with the most images, and how many.
        unlabelled: number of images without a present label.
        unknown: share of the N × C entries that are unknown, in 0..1.
    """

    fewest: tuple[str, int]
    median: float
    most: tuple[str, int]
    unlabelled: int
    unknown: float


def balance(annotations: Annotations) -> Balance | None:
    """How the labels are spread; None where there are no labels or images."""
    labels, names = annotations.labels, annotations.vocabulary.names
    if not names or not len(labels):
        return None
    present = labels.present_per_label()
    least, most = int(present.argmin()), int(present.argmax())
    return Balance(
        (names[least], int(present[least])),
        float(np.median(present)),
        (names[most], int(present[most])),
        int((labels.present_per_image() == 0).sum()),
        float((labels.values == UNKNOWN).sum() / (len(labels) * len(names))),
    )


def label_findings(annotations: Annotations) -> Iterator[Finding]:
    """What is wrong, or odd, with the labels of images; never for images' sake."""
    yield from _one_sided(annotations)
    yield from _alike(annotations)
    yield from _few(annotations)
    yield from _together(annotations)
    unlabelled = np.flatnonzero(annotations.labels.present_per_image() == 0)
    if len(unlabelled):
        yield Finding(
            "images-without-labels",
            "note",
            counted(len(unlabelled), "image has no label", "images have no label"),
            tuple(
                Item(annotations.images[row], {"image": annotations.images[row]})
                for row in unlabelled.tolist()
            ),
            hint="training takes every label as absent in them",
        )


def _one_sided(annotations: Annotations) -> Iterator[Finding]:
    """Labels without positives or without negatives, in all images or in those of a split."""
    told: dict[str, set[str]] = {"no-positives": set(), "no-negatives": set()}
    splits = annotations.split_names()
    for split in ("all", *sorted(splits, key=lambda name: (name != TRAIN, name))):
        part = annotations.split(split)
        present = part.labels.present_per_label()
        absent = len(part) - present - part.labels.unknown_per_label()
        where = "" if split == "all" else f" in split {split}"
        severity: Severity = "error" if split in ("all", TRAIN) else "warning"
        for kind, counts, lack in (
            ("no-positives", present, "never present"),
            ("no-negatives", absent, "never absent"),
        ):
            names = [
                name
                for name, count in zip(annotations.vocabulary, counts.tolist(), strict=True)
                if not count and name not in told[kind]
            ]
            if split == "all":
                told[kind].update(names)
            if names:
                yield Finding(
                    kind,
                    severity,
                    f"{counted(len(names), 'label is', 'labels are')} {lack}{where}",
                    tuple(Item(name, {"label": name, "split": split}) for name in names),
                )


def _alike(annotations: Annotations) -> Iterator[Finding]:
    groups = alike_names(annotations.vocabulary)
    if groups:
        message = counted(len(groups), "group of labels has", "groups of labels have")
        yield Finding(
            "labels-alike",
            "warning",
            f"{message} names that differ in little",
            tuple(
                Item(
                    f"{_listed(group.names)}: {group.differ_by}",
                    {"labels": list(group.names), "differ_by": group.differ_by},
                )
                for group in groups
            ),
            hint="they are trained as different labels",
        )


def _few(annotations: Annotations) -> Iterator[Finding]:
    present = annotations.labels.present_per_label()
    columns = np.flatnonzero((present > 0) & (present < FEW_POSITIVES))
    columns = columns[np.argsort(present[columns], kind="stable")]
    if len(columns):
        names = annotations.vocabulary.names
        message = counted(len(columns), "label has", "labels have")
        yield Finding(
            "few-positives",
            "warning",
            f"{message} fewer than {FEW_POSITIVES} images",
            tuple(
                Item(
                    f"{names[column]}: {present[column]}",
                    {"label": names[column], "images": int(present[column])},
                )
                for column in columns
            ),
        )


def _together(annotations: Annotations) -> Iterator[Finding]:
    names = annotations.vocabulary.names
    found = find_together(annotations.labels)
    if found is None:
        yield Finding(
            "too-many-pairs",
            "note",
            "which labels occur together is not said: too many are at the same images, or apart",
        )
        return

    def items(pairs: Iterable[Pair], verb: str, count: str) -> tuple[Item, ...]:
        return tuple(
            Item(
                f"{names[pair.first]} {verb} {names[pair.second]} ({pair.images:,} {count})",
                {"labels": [names[pair.first], names[pair.second]], "images": pair.images},
            )
            for pair in pairs
        )

    if found.always:
        message = counted(len(found.always), "pair of labels is", "pairs of labels are")
        yield Finding(
            "always-together",
            "warning",
            f"{message} on exactly the same images",
            items(found.always, "and", "images"),
            hint="one of each pair says nothing that the other does not",
        )
    if found.implies:
        message = counted(
            len(found.implies), "label implies another", "times a label implies another"
        )
        yield Finding(
            "implies",
            "note",
            f"{message}: every image that has it has the other too",
            items(found.implies, "implies", "images"),
            hint="tag rules can say so",
        )
    if found.never:
        message = counted(
            len(found.never), "pair of labels never meets", "pairs of labels never meet"
        )
        yield Finding(
            "never-together",
            "note",
            f"{message}, though chance would bring them together",
            items(found.never, "and", "images by chance"),
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def conflicting(annotations: Annotations, rows: NDArray[np.int64]) -> list[str]:
    """The labels that are present in one of these images and absent in another."""
    targets = annotations.labels.dense(rows)
    differ = (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    return [annotations.vocabulary.names[column] for column in np.flatnonzero(differ)]
