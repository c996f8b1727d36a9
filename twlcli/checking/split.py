"""Splitting labelled images for training and testing: what `twl data split` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.annotations.names import Names
from twlcli.annotations.read_options import ReadKeywords
from twlcli.annotations.split import hold_out
from twlcli.checking.files import members
from twlcli.checking.look import look, near_bits
from twlcli.checking.near import joined_groups
from twlcli.errors import AnnotationError, TwlError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.io import check_count, check_free
from twlcli.labels import counted
from twlcli.runs.run_folder import write_splits

Rows = NDArray[np.int64]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelShare:
    """How far the share of a label in a split is from that in all images.

    Attributes:
        label: its name.
        split: the split.
        images: how many images of the split have it.
        share: of the split's images that have it, in 0..1.
        overall: of all images that have it, in 0..1.
    """

    label: str
    split: str
    images: int
    share: float
    overall: float

    @property
    def off(self) -> float:
        """How far the share in the split is from that in all images; positive where it is more."""
        return self.share - self.overall


@dataclass(frozen=True)
class DataSplit:
    """A split of labelled images.

    Attributes:
        images: the N image paths, as the label file has them.
        splits: the split of each: `train`, `val` or `test`.
        sizes: number of images in each split.
        together: how many images stay with others, because they are copies, look the same or are
            of the same group.
        groups: how many groups those are.
        unreadable: how many images could not be read, missing ones included, and so not be compared
            with others; None where images were not looked at.
        near: how many bits of 64 may differ for images to look the same; None where that was not
            looked for.
        shares: how far each label's share in each split is from that in all images, furthest first.
    """

    images: tuple[str, ...]
    splits: tuple[str, ...]
    sizes: dict[str, int]
    together: int
    groups: int
    unreadable: int | None
    near: int | None
    shares: tuple[LabelShare, ...]

    def to_dict(self) -> dict[str, Any]:
        """The counts and shares as plain values for JSON; not the images."""
        return {
            "images": len(self.images),
            "splits": self.sizes,
            "images_together": self.together,
            "groups": self.groups,
            "unreadable": self.unreadable,
            "near": self.near,
            "labels": [
                {
                    "label": each.label,
                    "split": each.split,
                    "images": each.images,
                    "share": each.share,
                    "overall": each.overall,
                }
                for each in self.shares
            ],
        }


def split_labels(
    data: Path | str,
    out: Path | str | None = None,
    *,
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    group_by: Literal["folder"] | None = None,
    groups: Sequence[Hashable] | None = None,
    look_at_images: bool = True,
    near: int | None = None,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    workers: int | None = None,
    force: bool = False,
    watcher: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
    **options: Unpack[ReadKeywords],
) -> DataSplit:
    """Split images so that labels keep their shares and what belongs together stays together.

    Copies of an image, images that look nearly the same and images of one group are in the same
    split. The order of the label file makes no difference, and neither do splits that it names.

    Args:
        data: a label file or folder.
        out: a table `image,split` to write, which `train` and `evaluate` take as `splits`.
        val: share of the images for validation; 0 for none.
        test: share of the images for testing; 0 for none.
        seed: the same seed gives the same split.
        group_by: `folder` keeps the images of one folder together.
        groups: one value for each image in the order of `read_labels`; images with the same value
            stay together, those with None may be anywhere. Beside `group_by` both hold.
        look_at_images: whether to read the images; otherwise no copies are found.
        near: how many bits of perceptual hashes may differ; see `check_labels`.
        max_pixels: see `evaluate`.
        accept_damaged: see `evaluate`.
        workers: processes that read images; None for one per core.
        force: replace `out` if it exists.
        watcher: see `check_labels`.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        AnnotationError: the labels cannot be read, or there are fewer groups than splits.
        TwlError: an argument is out of range, or the table cannot be written.
        MissingExtraError: `near` without the `check` extra.
        DeviceError: the processes that read images do not start.
    """
    _check_shares(val, test)
    check_count("seed", seed, least=0)
    check_count("workers", workers)
    check_count("max_pixels", max_pixels)
    if out is not None:
        check_free(Path(out), force=force)
    bits = near_bits(near) if look_at_images else None
    annotations = read_labels(data, **options)
    numberings = list(_asked_for(annotations, group_by, groups))
    unreadable = None
    if look_at_images:
        with nullcontext() if watcher is None else watcher(len(annotations)) as progress:
            looked = look(
                annotations,
                near=bits,
                decoding=Decoding(False, max_pixels or MAX_PIXELS, accept_damaged),
                workers=workers,
                progress=progress,
            )
        numberings += [looked.same, *([] if looked.near is None else [looked.near])]
        unreadable = len(looked.missing) + len(looked.unreadable)
    group_of = joined_groups(np.arange(len(annotations)), *numberings)
    splits = draw_splits(annotations, group_of, val=val, test=test, seed=seed)
    if out is not None:
        write_splits(Path(out), annotations.images, splits)
    together = members(group_of)
    return DataSplit(
        images=tuple(annotations.images),
        splits=splits,
        sizes={name: splits.count(name) for name in SPLITS if name in splits},
        together=sum(map(len, together)),
        groups=len(together),
        unreadable=unreadable,
        near=bits,
        shares=_shares(annotations, splits),
    )


def draw_splits(
    annotations: Annotations, groups: Rows, *, val: float, test: float, seed: int
) -> tuple[str, ...]:
    """The split of each of N images; images of one group are in the same.

    The test split is held out of all images, then the validation split of the others; see
    `hold_out`. Images are handed out in the order of their paths, so that the order of the label
    file makes no difference.

    Args:
        annotations: the images.
        groups: (N,) numbers.
        val: share of the images for validation; 0 for none.
        test: share of the images for testing; 0 for none.
        seed: the same seed gives the same split.

    Raises:
        AnnotationError: there are too few images or groups.
    """
    order = Names.of(annotations.images).order()
    rest = order.astype(np.int64)
    splits = np.full(len(annotations), "train", dtype=object)
    left = 1.0
    for name, share in (("test", test), ("val", val)):
        if share:
            if not len(rest) or not np.ptp(groups[rest]):
                raise AnnotationError(f"{annotations.source}: {_too_few(groups)}")
            held = hold_out(
                annotations.labels.select(rest),
                fraction=share / left,
                seed=seed,
                groups=groups[rest],
            )
            splits[rest[held]] = name
            rest = np.delete(rest, held)
            left -= share
    return tuple(splits.tolist())


def _too_few(groups: Rows) -> str:
    """What is said of images, with these groups (N,), of which not every split gets one."""
    images, apart = counted(len(groups), "image", "images"), len(np.unique(groups))
    within = f" in {counted(apart, 'group', 'groups')}" if apart < len(groups) else ""
    return f"{images}{within} {'is' if len(groups) == 1 else 'are'} too few for the splits"


def _check_shares(val: float, test: float) -> None:
    """Raise TwlError where these are no shares, or leave nothing to train on."""
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise TwlError(f"{name} is {share:g}; expected a share of 0 or more and less than 1")
    if val + test >= 1:
        raise TwlError(f"val {val:g} and test {test:g} leave no image to train on")
    if not val + test:
        raise TwlError("val and test are both 0; expected a share for at least one of them")


def _asked_for(
    annotations: Annotations,
    group_by: Literal["folder"] | None,
    groups: Sequence[Hashable] | None,
) -> list[Rows]:
    """The groups of the label file and the caller, as numbers (N,); -1 for an image of none."""
    numberings = [annotations.group_numbers()]
    named: list[Sequence[Hashable]] = []
    if group_by is not None:
        if group_by != "folder":
            raise TwlError(f"group_by is {group_by!r}; expected 'folder'")
        named.append([image.rpartition("/")[0] for image in annotations.images])
        if len(annotations) and len(set(named[0])) == 1:
            raise AnnotationError(
                f"{annotations.source}: all images are in one folder, so folders cannot be "
                "kept together"
            )
    if groups is not None:
        if len(groups) != len(annotations):
            raise TwlError(f"there are {len(groups):,} groups for {len(annotations):,} images")
        named.append(groups)
    for values in named:
        number: dict[Hashable, int] = {}
        numbers = [-1 if each is None else number.setdefault(each, len(number)) for each in values]
        numberings.append(np.array(numbers, dtype=np.int64))
    return numberings


def _shares(annotations: Annotations, splits: Sequence[str]) -> tuple[LabelShare, ...]:
    """How far each label's share in each split is from that in all, the furthest first."""
    overall = annotations.labels.present_per_label() / max(len(annotations), 1)
    shares = []
    of_row = np.array(splits, dtype=object)
    for name in SPLITS:
        rows = np.flatnonzero(of_row == name)
        present = annotations.labels.select(rows).present_per_label()
        shares += [
            LabelShare(label, name, int(count), float(count / len(rows)), float(share))
            for label, count, share in zip(annotations.vocabulary, present, overall, strict=True)
            if len(rows)
        ]
    return tuple(sorted(shares, key=lambda each: (-abs(each.off), each.label, each.split)))
