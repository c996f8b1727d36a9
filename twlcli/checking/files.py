"""What is wrong with the images themselves: missing, unreadable, twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.checking.finding import Finding, Item
from twlcli.checking.labels import conflicting
from twlcli.checking.look import Looked
from twlcli.labels import counted

Rows = NDArray[np.int64]


def file_findings(annotations: Annotations, looked: Looked) -> Iterator[Finding]:
    """What is wrong with image files, and with images that are there twice."""
    names = annotations.images
    if len(looked.missing):
        yield Finding(
            "missing-images",
            "error",
            counted(len(looked.missing), "image is missing", "images are missing"),
            tuple(Item(names[row], {"image": names[row]}) for row in looked.missing),
            hint=f"their paths are relative to {annotations.root}",
        )
    if looked.unreadable:
        yield Finding(
            "unreadable-images",
            "error",
            counted(len(looked.unreadable), "image cannot be read", "images cannot be read"),
            tuple(
                Item(f"{each.image}: {each.reason}", {"image": each.image, "reason": each.reason})
                for each in looked.unreadable.values()
            ),
        )
    if looked.damaged:
        yield Finding(
            "damaged-images",
            "warning",
            f"{counted(len(looked.damaged), 'image is', 'images are')} damaged and read as far as "
            "possible",
            tuple(Item(names[row], {"image": names[row]}) for row in looked.damaged),
        )
    same = members(looked.same)
    yield from _copies(annotations, same)
    yield from _contradictions(annotations, same)
    if looked.near is not None:
        # Where all are copies of one file it has been said.
        near = [rows for rows in members(looked.near) if len(np.unique(looked.same[rows])) > 1]
        yield from _look_alikes(annotations, near)


def members(numbers: Rows) -> list[Rows]:
    """The rows of each group of two or more, in the order of their first; negatives are in none."""
    rows = np.flatnonzero(numbers >= 0)
    rows = rows[np.argsort(numbers[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(numbers[rows])) + 1
    return [group for group in np.split(rows, starts) if len(group) > 1]


def _copies(annotations: Annotations, groups: list[Rows]) -> Iterator[Finding]:
    across = [rows for rows in groups if _is_across(annotations, rows)]
    within = [rows for rows in groups if not _is_across(annotations, rows)]
    if across:
        yield Finding(
            "duplicates-across-splits",
            "error",
            f"{counted(len(across), 'image is', 'images are')} in several splits, with the same "
            "bytes",
            tuple(_item(annotations, rows, "=") for rows in across),
            hint="this makes scores too good; a new split keeps copies together",
        )
    if within:
        yield Finding(
            "duplicates",
            "warning",
            f"{counted(len(within), 'image is', 'images are')} there more than once, with the same "
            "bytes",
            tuple(_item(annotations, rows, "=") for rows in within),
        )


def _contradictions(annotations: Annotations, groups: list[Rows]) -> Iterator[Finding]:
    items = []
    for rows in groups:
        if labels := conflicting(annotations, rows):
            item = _item(annotations, rows, "=")
            more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
            text = f"{item.text}: {', '.join(labels[:3])}{more}"
            items.append(Item(text, {**item.fields, "labels": labels}))
    if items:
        count = counted(len(items), "image with", "images with")
        yield Finding(
            "duplicates-with-other-labels",
            "error",
            f"{count} the same bytes and different labels",
            tuple(items),
        )


def _look_alikes(annotations: Annotations, groups: list[Rows]) -> Iterator[Finding]:
    across = [rows for rows in groups if _is_across(annotations, rows)]
    within = [rows for rows in groups if not _is_across(annotations, rows)]
    if across:
        count = counted(len(across), "group of images looks", "groups of images look")
        yield Finding(
            "near-duplicates-across-splits",
            "warning",
            f"{count} nearly the same, in several splits",
            tuple(_item(annotations, rows, "~") for rows in across),
            hint="this makes scores too good; a new split keeps them together",
        )
    if within:
        count = counted(len(within), "group of images looks", "groups of images look")
        yield Finding(
            "near-duplicates",
            "note",
            f"{count} nearly the same",
            tuple(_item(annotations, rows, "~") for rows in within),
        )


def _is_across(annotations: Annotations, rows: Rows) -> bool:
    return len({annotations.splits[row] for row in rows if annotations.splits[row]}) > 1


def _item(annotations: Annotations, rows: Rows, sign: str) -> Item:
    """A group of images; in words the first of each split, or the first two."""
    images = [annotations.images[row] for row in rows]
    splits = [annotations.splits[row] for row in rows]
    first = {split: image for image, split in zip(images[::-1], splits[::-1], strict=True)}
    if _is_across(annotations, rows):
        shown = [f"{first[split]} ({split})" for split in dict.fromkeys(splits) if split]
    else:
        shown = images[:2]
    more = f" and {len(images) - len(shown):,} more" if len(images) > len(shown) else ""
    return Item(f" {sign} ".join(shown) + more, {"images": images, "splits": splits})
