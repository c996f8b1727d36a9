"""Looking for what is wrong with labelled images: what `twl data check` does, as a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.annotations.read_options import ReadKeywords
from twlcli.checking.doubtful import doubtful_labels
from twlcli.checking.files import file_findings
from twlcli.checking.finding import Finding, Item, worst_first
from twlcli.checking.labels import Balance, balance, label_findings
from twlcli.checking.look import look, near_bits
from twlcli.errors import AnnotationError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.io import check_count
from twlcli.labels import counted
from twlcli.scoring.scores_file import Scores, read_scores


@dataclass(frozen=True)
class Checked:
    """What a check of labelled images found.

    Attributes:
        source: the label file or folder.
        format: the format it was read as.
        images: number of images.
        labels: number of labels.
        splits: number of images in each split; the empty name for those in none.
        balance: how the labels are spread; None where there are no labels or images.
        looked: whether the image files were looked at.
        near: how many of 64 bits of the perceptual hashes may differ for two images to look the
            same; None where that was not looked for.
        findings: what was found, the worst first.
        notes: what was decided in reading the labels that the user may want to know.
    """

    source: str
    format: str
    images: int
    labels: int
    splits: dict[str, int]
    balance: Balance | None
    looked: bool
    near: int | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def fails(self, *, strict: bool = False) -> bool:
        """Whether there is an error among the findings, or with `strict` a warning."""
        bad = ("error", "warning") if strict else ("error",)
        return any(finding.severity in bad for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The check as plain values for JSON."""
        severities = Counter(finding.severity for finding in self.findings)
        spread = None if self.balance is None else asdict(self.balance)
        return {
            "source": self.source,
            "format": self.format,
            "images": self.images,
            "labels": self.labels,
            "splits": self.splits,
            "images_per_label": spread
            and {
                "fewest": dict(zip(("label", "images"), spread["fewest"], strict=True)),
                "median": spread["median"],
                "most": dict(zip(("label", "images"), spread["most"], strict=True)),
            },
            "images_without_labels": spread and spread["unlabelled"],
            "unknown_share": spread and spread["unknown"],
            "images_read": self.looked,
            "near": self.near,
            "errors": severities["error"],
            "warnings": severities["warning"],
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }


def check_labels(
    data: Path | str,
    *,
    look_at_images: bool = True,
    near: int | None = None,
    scores: Path | str | None = None,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    workers: int | None = None,
    watcher: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
    **options: Unpack[ReadKeywords],
) -> Checked:
    """Look for what is wrong with labelled images, before time is spent on training.

    Images are read in separate processes: a decoder that crashes or hangs costs one image.

    Args:
        data: a label file or folder.
        look_at_images: whether to read the images; otherwise only the labels are looked at.
        near: how many of the 64 bits of two images' perceptual hashes may differ for them to look
            the same; 0..16. None is 6 where the `check` extra is installed, else none are compared.
        scores: a file of scores, as `evaluate` writes it, of images that the model was not trained
            on: labels that they speak against are named.
        max_pixels: see `evaluate`.
        accept_damaged: see `evaluate`.
        workers: processes that read images; None for one per core.
        watcher: called with the number of images; returns a context manager whose value is called
            with the number of images done since the last call.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        AnnotationError: the labels cannot be read, or the scores are of other images or labels.
        TwlError: the file of scores cannot be read, or an argument is out of range.
        MissingExtraError: `near` without the `check` extra.
        DeviceError: the processes that read images do not start.
    """
    check_count("workers", workers)
    check_count("max_pixels", max_pixels)
    bits = near_bits(near) if look_at_images else None
    scored = None if scores is None else read_scores(Path(scores))
    annotations = read_labels(data, **options)
    doubts = [] if scored is None else list(score_findings(annotations, scored, str(scores)))
    findings: list[Finding] = []
    if look_at_images:
        with nullcontext() if watcher is None else watcher(len(annotations)) as progress:
            looked = look(
                annotations,
                near=bits,
                decoding=Decoding(False, max_pixels or MAX_PIXELS, accept_damaged),
                workers=workers,
                progress=progress,
            )
        findings += file_findings(annotations, looked)
    findings += [*label_findings(annotations), *doubts]
    splits = Counter(annotations.splits)
    return Checked(
        source=str(annotations.source),
        format=annotations.format,
        images=len(annotations),
        labels=len(annotations.vocabulary),
        splits={name: splits[name] for name in (*annotations.split_names(), "") if name in splits},
        balance=balance(annotations),
        looked=look_at_images,
        near=bits,
        findings=worst_first(findings),
        notes=annotations.notes,
    )


def score_findings(annotations: Annotations, scores: Scores, name: str) -> Iterator[Finding]:
    """Labels that the scores speak against, of the images and labels that are in both.

    Raises:
        AnnotationError: no image, or no label, is in both.
    """
    place = {image: row for row, image in enumerate(scores.images)}
    rows = np.array(
        [row for row, image in enumerate(annotations.images) if image in place], dtype=np.int64
    )
    names = [label for label in scores.labels if label in annotations.vocabulary]
    for count, what in ((len(rows), "image"), (len(names), "label")):
        if not count:
            raise AnnotationError(f"{name}: has no {what} of {annotations.source}")
    columns = [annotations.vocabulary.column(label) for label in names]
    probabilities = scores.probabilities[[place[annotations.images[row]] for row in rows]]
    probabilities = probabilities[:, [scores.labels.index(label) for label in names]]
    doubts = doubtful_labels(probabilities, annotations.labels.dense(rows)[:, columns])
    if not doubts:
        return
    items = []
    for doubt in doubts:
        image, label = annotations.images[rows[doubt.row]], names[doubt.column]
        given = "given" if doubt.given else "not given"
        probability = doubt.confidence if doubt.given else 1 - doubt.confidence
        items.append(
            Item(
                f"{image}: {label} is {given}; its probability is {probability:.3f}",
                {
                    "image": image,
                    "label": label,
                    "given": doubt.given,
                    "probability": round(probability, 6),
                },
            )
        )
    yield Finding(
        "doubtful-labels",
        "warning",
        f"{counted(len(items), 'label is', 'labels are')} in doubt, by the scores of "
        f"{counted(len(rows), 'image', 'images')}",
        tuple(items),
        hint="the first are the likeliest to be wrong, if the model was not trained on the images",
    )
