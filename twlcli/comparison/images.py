"""The images of a comparison: those that train and validate, and those that choose a rate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.split import hold_out_images
from twlcli.comparison.plan import Plan
from twlcli.errors import AnnotationError
from twlcli.io import write_errors
from twlcli.runs.run_folder import Run
from twlcli.training.devices import Ranks

_TUNING_SHARE = 0.2  # of the training images that choose the rate


@dataclass(frozen=True)
class ComparedImages:
    """The images of all runs with their splits: for the runs, and for choosing a rate."""

    data: Annotations
    final: tuple[str, ...]
    tuning: tuple[str, ...]
    train_count: int

    @classmethod
    def of(cls, plan: Plan, ranks: Ranks) -> ComparedImages:
        """Split the data of the plan's recipes; one rank does, the others are told."""
        images: ComparedImages = ranks.gather(cls._made(plan) if ranks.first else None)[0]
        return images

    @classmethod
    def _made(cls, plan: Plan) -> ComparedImages:
        with write_errors(plan.folder):
            plan.folder.mkdir(parents=True, exist_ok=True)
        whole = Run(plan.folder, plan.candidates[0].recipe)
        data = whole.data()
        both = whole.split_data(data)
        _check_scorable(both[1])
        train, validation = (_at_most(plan.limit, part) for part in both)
        train_split, validation_split = whole.splits
        final = dict.fromkeys(train.images, train_split)
        tuning = dict(final)
        final |= dict.fromkeys(validation.images, validation_split)
        held = hold_out_images(train, fraction=_TUNING_SHARE, seed=0)
        tuning |= {train.images[row]: validation_split for row in held}
        return cls(
            data,
            tuple(final.get(name, "unused") for name in data.images),
            tuple(tuning.get(name, "unused") for name in data.images),
            len(train),
        )

    @cached_property
    def tuning_digest(self) -> str:
        """What identifies the images that choose a rate."""
        lines = map("\t".join, zip(self.data.images, self.tuning, strict=True))
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()


def _check_scorable(validation: Annotations) -> None:
    """Raise AnnotationError where there is nothing that losses could be compared by."""
    labels = validation.labels
    if not (labels.present_per_label() * labels.absent_per_label()).any():
        raise AnnotationError(
            f"{validation.source}: no label is present in some validation images and known to be "
            "absent from others, so that there is no mAP@class to compare"
        )


def _at_most(limit: int | None, part: Annotations) -> Annotations:
    """A stratified sample of the images, or all where there are no more than the limit."""
    if limit is None or len(part) <= limit:
        return part
    alone = replace(part, groups=())  # a group may be larger than the limit
    return part.select(hold_out_images(alone, fraction=limit / len(part), seed=0))
