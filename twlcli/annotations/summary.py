"""What there is to know about annotations at a glance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES
from twlcli.annotations.class_copies import copies_in_classes
from twlcli.annotations.missing import find_missing_images
from twlcli.labels import UNKNOWN, Vocabulary, counted

MISSING_NAMED = 5
# Blanks that are none, such as those that hold words together, and what has no width.
_HIDDEN = re.compile(r"[\u00a0\u00ad\u2000-\u200b\u200e\u200f\u202a-\u202f\u2060\u3000\ufeff]")


@dataclass(frozen=True)
class LabelCount:
    """In how many images a label is present and unknown, and present in each split."""

    name: str
    present: int
    unknown: int
    splits: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """Counts over annotations.

    Attributes:
        source: the label file or folder.
        format: the format it was read as.
        root: the folder that image paths are relative to.
        images: number of images.
        splits: number of images in each split; the empty name for those in none.
        groups: number of groups that images belong to.
        labels: one count per label, most frequent first.
        labels_per_image_mean: mean number of present labels over all images.
        labels_per_image_max: the largest number of present labels of one image.
        unlabelled: number of images without a present label.
        unknown: number of entries that are unknown.
        missing: number of image files that are not there.
        missing_first: up to five of their paths.
        notes: what was decided in reading, and what looks odd.
    """

    source: str
    format: str
    root: str
    images: int
    splits: dict[str, int]
    groups: int
    labels: tuple[LabelCount, ...]
    labels_per_image_mean: float
    labels_per_image_max: int
    unlabelled: int
    unknown: int
    missing: int
    missing_first: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values for JSON."""
        return {
            "source": self.source,
            "format": self.format,
            "root": self.root,
            "images": self.images,
            "splits": self.splits,
            "groups": self.groups,
            "labels": {
                each.name: {
                    "present": each.present,
                    "unknown": each.unknown,
                    "splits": each.splits,
                }
                for each in self.labels
            },
            "labels_per_image": {
                "mean": self.labels_per_image_mean,
                "max": self.labels_per_image_max,
            },
            "images_without_labels": self.unlabelled,
            "unknown_entries": self.unknown,
            "missing_images": {"count": self.missing, "first": list(self.missing_first)},
            "notes": list(self.notes),
        }


def summarize(annotations: Annotations) -> Summary:
    """Count images, splits, labels, unknowns and missing files.

    Raises:
        AnnotationError: never for what the annotations hold; a missing image is counted.
    """
    matrix = annotations.labels
    per_image = matrix.present_per_image()
    missing = find_missing_images(annotations)
    twins = [
        f"these labels differ only in upper and lower case: {', '.join(names)}"
        for names in case_twins(annotations.vocabulary)
    ]
    if odd := [name for name in annotations.vocabulary if _HIDDEN.search(name)]:
        shown = ", ".join(ascii(name) for name in odd[:MISSING_NAMED])
        twins.append(f"labels with characters that are not seen or not blanks: {shown}")
    if annotations.format == "folders" and (copies := copies_in_classes(annotations)):
        more = f" ({len(copies) - 1:,} more such pairs)" if len(copies) > 1 else ""
        twins.append(f"a picture is in two class folders: {' and '.join(copies[0])}{more}")
    return Summary(
        source=str(annotations.source),
        format=annotations.format,
        root=str(annotations.root),
        images=len(annotations),
        splits=_split_sizes(annotations),
        groups=len({group for group in annotations.groups if group}),
        labels=_label_counts(annotations),
        labels_per_image_mean=float(per_image.mean()) if len(per_image) else 0.0,
        labels_per_image_max=int(per_image.max(initial=0)),
        unlabelled=int((per_image == 0).sum()),
        unknown=int((matrix.values == UNKNOWN).sum()),
        missing=len(missing),
        missing_first=tuple(str(annotations.path(row)) for row in missing[:MISSING_NAMED]),
        notes=(*annotations.notes, *twins),
    )


def in_one_line(*parts: Annotations) -> str:
    """What was read: file, format, labels, and what images say of them.

    Args:
        parts: the images, such as those of several splits of one file.
    """
    first, images = parts[0], sum(map(len, parts))
    present = [part.labels.present_per_image() for part in parts]
    without = sum(int((each == 0).sum()) for each in present)
    unknown = sum(int((part.labels.values == UNKNOWN).sum()) for part in parts)
    mean = sum(int(each.sum()) for each in present) / max(images, 1)
    told = [counted(len(first.vocabulary), "label", "labels"), f"{mean:.2f} per image"]
    told += [counted(without, "image without labels", "images without labels")] if without else []
    told += [counted(unknown, "entry unknown", "entries unknown")] if unknown else []
    return f"{first.source} ({first.format}): {', '.join(told)}"


def case_twins(vocabulary: Vocabulary) -> list[tuple[str, ...]]:
    """Groups of labels that differ only in case, such as `('Dog', 'dog')`.

    Example:
        >>> case_twins(Vocabulary(("Dog", "cat", "dog")))
        [('Dog', 'dog')]
    """
    groups: dict[str, list[str]] = {}
    for name in vocabulary:
        groups.setdefault(name.casefold(), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def _split_sizes(annotations: Annotations) -> dict[str, int]:
    names, counts = np.unique(np.array(annotations.splits, dtype=object), return_counts=True)
    sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return {name: sizes[name] for name in [*_split_order(annotations), ""] if name in sizes}


def _split_order(annotations: Annotations) -> list[str]:
    """Train, val and test first, whichever there are, then the others as they appear."""
    usual = list(dict.fromkeys(SPLIT_NAMES.values()))
    return sorted(
        annotations.split_names(),
        key=lambda name: usual.index(name) if name in usual else len(usual),
    )


def _label_counts(annotations: Annotations) -> tuple[LabelCount, ...]:
    present = annotations.labels.present_per_label()
    unknown = annotations.labels.unknown_per_label()
    per_split = {
        name: annotations.split(name).labels.present_per_label()
        for name in _split_order(annotations)
    }
    names = annotations.vocabulary.names
    order = sorted(range(len(names)), key=lambda column: (-present[column], names[column]))
    return tuple(
        LabelCount(
            name=names[column],
            present=int(present[column]),
            unknown=int(unknown[column]),
            splits={split: int(counts[column]) for split, counts in per_split.items()},
        )
        for column in order
    )
